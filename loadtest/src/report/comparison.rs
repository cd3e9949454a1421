//! The comparison of several servers: the median of each figure over all rounds, and its ratio to another server's in
//! the same round.

use std::fmt::{Display, Formatter, Result};

/// A table of servers and figures.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The names of the columns, with units.
    pub figures: Vec<&'static str>,
    /// A row for each server.
    pub rows: Vec<Row>,
}

/// The figures of one server.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name.
    pub server: String,
    /// The cells, one for each figure.
    pub cells: Vec<Cell>,
    /// The results of the checks.
    pub checks: String,
}

/// One figure of one server over all rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// The median; NaN if the figure was never measured.
    pub median: f64,
    /// The ratio to the other server in the same round; `None` if there is none.
    pub ratio: Option<Spread>,
}

/// A median and its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    median: f64,
    low: f64,
    high: f64,
}

impl Cell {
    /// A cell of the `values` and `ratios` of all rounds.
    pub fn of(values: Vec<f64>, ratios: Vec<f64>) -> Self {
        Self { median: median(values), ratio: Spread::of(ratios) }
    }

    /// The median as text.
    pub(super) fn value(&self) -> String {
        match self.median {
            none if none.is_nan() => "–".to_owned(),
            small if small < 1.0 => format!("{small:.3}"),
            middle if middle < 100.0 => format!("{middle:.2}"),
            large => format!("{large:.0}"),
        }
    }

    /// The ratio as text.
    pub(super) fn ratio(&self) -> String {
        self.ratio.map_or_else(|| "–".to_owned(), |Spread { median, low, high }| format!("{median:.2} ({low:.2}–{high:.2})"))
    }
}

impl Spread {
    fn of(values: Vec<f64>) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self { median: median(values), low, high })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}

/// A Markdown table.
impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "| server |")?;
        self.figures.iter().try_for_each(|figure| write!(f, " {figure} | ratio |"))?;
        write!(f, " checks |\n| --- |")?;
        self.figures.iter().try_for_each(|_| write!(f, " --- | --- |"))?;
        writeln!(f, " --- |")?;
        for row in &self.rows {
            write!(f, "| {} |", row.server)?;
            row.cells.iter().try_for_each(|cell| write!(f, " {} | {} |", cell.value(), cell.ratio()))?;
            writeln!(f, " {} |", row.checks)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_tells_median_and_ends() {
        let cell = Cell::of(vec![30.0, 10.0, 20.0], vec![1.0, 2.0]);
        assert_eq!((cell.value().as_str(), cell.ratio().as_str()), ("20.00", "1.50 (1.00–2.00)"));
        let none = Cell::of(Vec::new(), vec![f64::NAN]);
        assert_eq!((none.value().as_str(), none.ratio().as_str()), ("–", "–"));
    }
}
