//! Compares two reports: both values of each figure, and their ratio.

use std::fmt::Write;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde_json::Value;

use crate::wire::Deflate;

/// The reports of a file.
pub struct Reports(Vec<Value>);

/// A column of the table: its name, and a function that finds its value in a report.
type Column = (&'static str, fn(&Value) -> Option<f64>);

const COLUMNS: [Column; 7] = [
    ("CPU µs a delivery", |report| report.pointer("/server/cpu_us_per_delivery")?.as_f64()),
    ("bytes a delivery", |report| report["bytes_per_delivery"].as_f64()),
    ("p50 µs", |report| latency(report, "p50")),
    ("p99 µs", |report| latency(report, "p99")),
    ("p99.9 µs", |report| latency(report, "p999")),
    ("delivered/s", |report| Some(report["deliveries"].as_f64()? / report["measured_s"].as_f64().filter(|seconds| *seconds > 0.0)?)),
    ("lost", |report| report.pointer("/verdict/lost")?.as_f64()),
];

fn latency(report: &Value, quantile: &str) -> Option<f64> {
    let latency = &report["latency"];
    latency["count"].as_u64().filter(|count| *count > 0)?;
    latency[quantile].as_f64()
}

impl Reports {
    /// Reads the output of `--json`.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let reports = match serde_json::from_str(text).context("it is no JSON")? {
            Value::Array(reports) => reports,
            report => vec![report],
        };
        ensure!(reports.iter().all(|report| report["settings"]["scenario"].is_string()), "it has no settings.scenario");
        Ok(Self(reports))
    }
}

/// The name of a run, by which the runs of both files are matched.
fn name(report: &Value) -> String {
    let settings = &report["settings"];
    let scenario = settings["scenario"].as_str().unwrap_or_default();
    let server = settings["server_name"].as_str().or_else(|| settings["dialect"].as_str()).unwrap_or_default();
    // In comparisons the server's name has the compression. Older reports have true or false.
    let suffix = match &settings["deflate"] {
        Value::Bool(true) => Deflate::Alone.suffix(),
        Value::String(deflate) => Deflate::from_str(deflate, false).map_or("", Deflate::suffix),
        _ => "",
    };
    format!("{scenario}, {}{suffix}", server.strip_suffix(suffix).unwrap_or(server))
}

/// A Markdown table of the runs that both files have: before, after, ratio.
pub fn table(before: &Reports, after: &Reports) -> anyhow::Result<String> {
    let mut left: Vec<&Value> = after.0.iter().collect();
    let pairs: Vec<(&Value, &Value)> = before
        .0
        .iter()
        .filter_map(|earlier| {
            let at = left.iter().position(|later| name(later) == name(earlier))?;
            Some((earlier, left.remove(at)))
        })
        .collect();
    ensure!(!pairs.is_empty(), "the two have no run in common: a scenario on a server");
    let mut out = String::new();
    for (earlier, later) in pairs {
        let date = |report: &Value| report.pointer("/provenance/date").and_then(Value::as_str).unwrap_or("before").to_owned();
        let _ =
            write!(out, "### {}\n\n| figure | {} | {} | ratio |\n| --- | --- | --- | --- |\n", name(earlier), date(earlier), date(later));
        let columns = COLUMNS.iter().map(|(column, figure)| ((*column).to_owned(), figure(earlier), figure(later)));
        let figures = earlier["figures"].as_object().into_iter().flatten();
        let figures = figures.map(|(key, figure)| (key.replace('_', " "), figure.as_f64(), later["figures"][key].as_f64()));
        for (name, earlier, later) in columns.chain(figures) {
            let (Some(earlier), Some(later)) = (earlier, later) else { continue };
            let ratio = if earlier > 0.0 { format!("{:.2}", later / earlier) } else { "–".to_owned() };
            let _ = writeln!(out, "| {name} | {} | {} | {ratio} |", written(earlier), written(later));
        }
        out.push('\n');
    }
    Ok(out)
}

fn written(value: f64) -> String {
    if value < 100.0 && value.fract() != 0.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(server: &str, p99: f64) -> String {
        format!(
            r#"{{"settings":{{"scenario":"fanout","server_name":"{server}"}},"measured_s":2.0,"deliveries":100,
               "latency":{{"count":100,"p50":1.0,"p99":{p99},"p999":9.0}},"verdict":{{"lost":0}},"figures":{{"handshake_cpu_us":20.5}}}}"#
        )
    }

    #[test]
    fn runs_are_paired_by_scenario_and_server() {
        let before = Reports::parse(&format!("[{},{}]", report("json", 100.0), report("raw", 50.0))).unwrap();
        let after = Reports::parse(&report("raw", 75.0)).unwrap();
        let table = table(&before, &after).unwrap();
        assert!(table.starts_with("### fanout, raw\n") && !table.contains("json"), "{table}");
        assert!(table.contains("| p99 µs | 50 | 75 | 1.50 |") && table.contains("| handshake cpu us | 20.50 | 20.50 | 1.00 |"), "{table}");
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert!(Reports::parse("{").is_err() && Reports::parse("{}").is_err());
        let (one, other) = (Reports::parse(&report("json", 1.0)).unwrap(), Reports::parse(&report("raw", 1.0)).unwrap());
        assert!(table(&one, &other).is_err());
    }
}
