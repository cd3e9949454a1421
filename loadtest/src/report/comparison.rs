//! The comparison of several servers: the median of each figure over all rounds, and its ratio to another server's in
//! the same round.

use std::fmt::{Display, Formatter, Result};

/// A table of servers and figures.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The names of the figures, with units.
    pub columns: Vec<&'static str>,
    pub rows: Vec<Row>,
}

/// The figures of one server.
#[derive(Debug, Clone)]
pub struct Row {
    pub server: String,
    /// One for each column.
    pub figures: Vec<FigureSummary>,
    pub checks: String,
}

/// One figure of one server over all rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FigureSummary {
    /// The median; NaN if the figure was never measured.
    pub median: f64,
    /// The median, the lowest and the highest ratio to the other server in the same round; `None` if there is none.
    ratios: Option<[f64; 3]>,
}

impl FigureSummary {
    /// The summary of the `values` and `ratios` of all rounds.
    pub fn of(mut values: Vec<f64>, mut ratios: Vec<f64>) -> Self {
        let are_known = !ratios.is_empty() && ratios.iter().all(|ratio| ratio.is_finite());
        let ratios = are_known.then(|| [sorted_median(&mut ratios), ratios[0], ratios[ratios.len() - 1]]);
        Self { median: sorted_median(&mut values), ratios }
    }

    pub(super) fn value(&self) -> String {
        match self.median {
            none if none.is_nan() => "–".to_owned(),
            small if small < 1.0 => format!("{small:.3}"),
            middle if middle < 100.0 => format!("{middle:.2}"),
            large => format!("{large:.0}"),
        }
    }

    pub(super) fn ratio(&self) -> String {
        self.ratios.map_or_else(|| "–".to_owned(), |[median, low, high]| format!("{median:.2} ({low:.2}–{high:.2})"))
    }
}

/// Sorts `values`, and returns their median.
fn sorted_median(values: &mut [f64]) -> f64 {
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
        self.columns.iter().try_for_each(|column| write!(f, " {column} | ratio |"))?;
        write!(f, " checks |\n| --- |")?;
        self.columns.iter().try_for_each(|_| write!(f, " --- | --- |"))?;
        writeln!(f, " --- |")?;
        for row in &self.rows {
            write!(f, "| {} |", row.server)?;
            row.figures.iter().try_for_each(|figure| write!(f, " {} | {} |", figure.value(), figure.ratio()))?;
            writeln!(f, " {} |", row.checks)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_median_and_the_range_of_ratios() {
        let summary = FigureSummary::of(vec![30.0, 10.0, 20.0], vec![2.0, 1.0]);
        assert_eq!((summary.value().as_str(), summary.ratio().as_str()), ("20.00", "1.50 (1.00–2.00)"));
        let none = FigureSummary::of(Vec::new(), vec![f64::NAN]);
        assert_eq!((none.value().as_str(), none.ratio().as_str()), ("–", "–"));
    }
}
