//! Plots lines as inline SVG. Colours come from the page's style sheet, which has a light and a dark scheme.

use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 36.0;

/// A line: its name, its class in the style sheet, and its points.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// The scale and the labels of an axis.
pub(super) struct Axis {
    pub(super) logarithmic: bool,
    /// Formats a value.
    pub(super) label: fn(f64) -> String,
    /// The marks; if empty, they are chosen by the values.
    pub(super) marks: Vec<f64>,
}

/// The range of an axis.
#[derive(Clone, Copy)]
struct Span {
    low: f64,
    high: f64,
    logarithmic: bool,
}

pub(super) fn svg(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    if points().next().is_none() {
        return String::new();
    }
    let (across, up) = (Span::of(points().map(|point| point.0), x), Span::of(points().map(|point| point.1), y));
    let mut out =
        format!("<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">");
    for mark in up.marks(y, 4) {
        let at = place_up(up, mark);
        let _ = write!(out, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{}\"/>", WIDTH - RIGHT);
        let _ = write!(out, "<text x=\"{}\" y=\"{:.1}\" class=\"left\">{}</text>", LEFT - 8.0, at + 4.0, (y.label)(mark));
    }
    for mark in across.marks(x, 6) {
        let at = place_across(across, mark);
        let _ = write!(out, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{}\"/>", HEIGHT - BOTTOM);
        let _ = write!(out, "<text x=\"{at:.1}\" y=\"{}\" class=\"below\">{}</text>", HEIGHT - BOTTOM + 24.0, (x.label)(mark));
    }
    for line in lines {
        let _ = write!(out, "<path class=\"line {}\" d=\"", line.class);
        for (number, (at, value)) in line.points.iter().enumerate() {
            let step = if number == 0 { 'M' } else { 'L' };
            let _ = write!(out, "{step}{:.1} {:.1}", place_across(across, *at), place_up(up, *value));
        }
        out.push_str("\"/>");
    }
    out.push_str("</svg><p class=\"legend\">");
    for line in lines {
        let _ = write!(out, "<span class=\"{}\">{}</span>", line.class, line.name);
    }
    out.push_str("</p></figure>");
    out
}

fn place_across(span: Span, value: f64) -> f64 {
    LEFT + span.share(value) * (WIDTH - LEFT - RIGHT)
}

fn place_up(span: Span, value: f64) -> f64 {
    HEIGHT - BOTTOM - span.share(value) * (HEIGHT - TOP - BOTTOM)
}

impl Span {
    fn of(values: impl Iterator<Item = f64>, axis: &Axis) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| !axis.logarithmic || *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if !low.is_finite() {
            (low, high) = (1.0, 10.0);
        }
        if axis.logarithmic {
            (low, high) = (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()));
        } else if axis.marks.is_empty() && low > 0.0 {
            low = 0.0;
        }
        if high <= low {
            high = low + 1.0;
        }
        if !axis.logarithmic && axis.marks.is_empty() {
            // Room above the highest value, so that its line is not on the edge.
            high += (high - low) * 0.05;
        }
        Self { low, high, logarithmic: axis.logarithmic }
    }

    /// The place of a value in the range, from 0 to 1.
    fn share(self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    fn marks(self, axis: &Axis, about: usize) -> Vec<f64> {
        if !axis.marks.is_empty() {
            return axis.marks.iter().copied().filter(|mark| (self.low..=self.high).contains(mark)).collect();
        }
        if self.logarithmic {
            let (low, high) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
            return (low..=high).map(|power| 10_f64.powi(power)).collect();
        }
        let raw = (self.high - self.low) / about as f64;
        let unit = 10_f64.powf(raw.log10().floor());
        let step = unit * [2.0, 5.0].into_iter().find(|step| raw / unit <= *step).unwrap_or(10.0);
        let first = (self.low / step).ceil() as i64;
        (first..).map(|number| rounded(number as f64 * step)).take_while(|mark| *mark <= self.high).collect()
    }
}

/// Rounds a product of fractions: 0.6, and not 0.6000000000000001.
fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers_within_the_axis() {
        let axis = Axis { logarithmic: false, label: |value| value.to_string(), marks: Vec::new() };
        let span = Span::of([3.0, 97.0].into_iter(), &axis);
        assert_eq!(span.marks(&axis, 4), [0.0, 50.0, 100.0], "with room above the highest value");
        let short = Span::of([-0.85, 0.1].into_iter(), &axis);
        assert_eq!(short.marks(&axis, 6), [-0.8, -0.6, -0.4, -0.2, 0.0]);
        let axis = Axis { logarithmic: true, ..axis };
        let span = Span::of([30.0, 900.0].into_iter(), &axis);
        assert_eq!(span.marks(&axis, 4), [10.0, 100.0, 1000.0]);
        assert!((span.share(100.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn one_point_makes_a_plot() {
        let axis = || Axis { logarithmic: false, label: |value| value.to_string(), marks: Vec::new() };
        let svg = svg("t", &axis(), &axis(), &[Line { name: "a", class: "a", points: vec![(5.0, 5.0)] }]);
        assert!(svg.contains("<path class=\"line a\"") && !svg.contains("NaN"), "{svg}");
    }
}
