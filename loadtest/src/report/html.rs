//! The report as one self-contained HTML page.

use std::fmt::Write;

use serde_json::Value;

use super::figures::FIGURES;
use super::plot::{Axis, Line, svg};
use super::text::server_name;
use super::units::{rate, time};
use super::{Comparison, Report};
use crate::measure::Slice;
use crate::named::Named;
use crate::plan::Scenario;

const STYLE: &str = include_str!("page.css");

/// On a page with more runs than this, each is collapsed.
const UNFOLDED_MAX: usize = 10;

/// A page of all `reports` and their `comparison`.
pub fn page(reports: &[Report], comparison: Option<&Comparison>) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Belfry load test</title><style>{STYLE}</style><main><h1>Belfry load test</h1>"
    );
    if let Some(report) = reports.first() {
        let (machine, provenance) = (&report.machine, &report.provenance);
        let (processor, kernel, command) = (escape(&machine.processor), escape(&machine.kernel), escape(&provenance.command));
        let (cores, memory, load) = (machine.cores, machine.memory_bytes as f64 / f64::from(1 << 30), machine.load_before);
        let (date, version) = (&provenance.date, provenance.version);
        let _ = write!(
            out,
            "<p class=\"machine\">{processor} · {cores} cores · {memory:.0} GiB · Linux {kernel} · load before {load:.2}</p>\
             <p class=\"machine\">{date} · belfry-loadtest {version} · <code>{command}</code></p>"
        );
    }
    match comparison {
        Some(comparison) => comparison_table(&mut out, comparison),
        None if reports.len() > 1 => reports_table(&mut out, reports),
        None => {}
    }
    let unfolded = if reports.len() > UNFOLDED_MAX { "" } else { " open" };
    reports.iter().for_each(|report| section(&mut out, report, unfolded));
    out.push_str("</main></html>\n");
    out
}

/// The table of a comparison. Each figure has a bar, relative to the largest of its column.
fn comparison_table(out: &mut String, comparison: &Comparison) {
    out.push_str("<div class=\"scroll\"><table class=\"compared\"><thead><tr><th>server");
    comparison.columns.iter().for_each(|column| {
        let _ = write!(out, "<th>{column}");
    });
    out.push_str("<th>checks</thead><tbody>");
    let largest = |column: usize| comparison.rows.iter().map(|row| row.figures[column].median).fold(0.0, f64::max);
    for row in &comparison.rows {
        let _ = write!(out, "<tr><td>{}", escape(&row.server));
        for (column, figure) in row.figures.iter().enumerate() {
            let share = if figure.median > 0.0 { figure.median / largest(column) * 100.0 } else { 0.0 };
            let _ = write!(out, "<td>{} <small>{}</small><i style=\"width:{share:.1}%\"></i>", figure.value(), figure.ratio());
        }
        let class = if row.checks == "held" { "good" } else { "bad" };
        let _ = write!(out, "<td><b class=\"{class}\">{}</b>", escape(&row.checks));
    }
    out.push_str("</tbody></table></div><p class=\"machine\">Medians over all rounds; behind each its ratio to the first row's in the same round, of a row with +deflate to the same server's without, and from where to where.</p>");
}

fn reports_table(out: &mut String, reports: &[Report]) {
    out.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>scenario<th>server<th>sessions<th>delivered/s<th>p50<th>p99<th>server CPU a delivery<th>checks</thead><tbody>",
    );
    for report in reports {
        let cpu = report.server.map_or_else(|| "–".to_owned(), |server| format!("{:.2} µs", server.cpu_us_per_delivery));
        let (scenario, server) = (report.settings.scenario.name(), escape(&server_name(&report.settings)));
        let (sessions, rate) = (report.settings.sessions, report.deliveries_per_s());
        let [p50, p99] = [report.latency.p50, report.latency.p99].map(time);
        let badge = badge(report);
        let _ = write!(out, "<tr><td>{scenario}<td>{server}<td>{sessions}<td>{rate:.0}<td>{p50}<td>{p99}<td>{cpu}<td>{badge}");
    }
    out.push_str("</tbody></table></div>");
}

fn badge(report: &Report) -> &'static str {
    if report.holds() { "<b class=\"good\">held</b>" } else { "<b class=\"bad\">failed</b>" }
}

fn section(out: &mut String, report: &Report, unfolded: &str) {
    let (scenario, server, badge) = (report.settings.scenario.name(), escape(&server_name(&report.settings)), badge(report));
    let _ = write!(out, "<section><details{unfolded}><summary><h2>{scenario} <small>{server}</small> {badge}</h2></summary>");
    for warning in &report.warnings {
        let _ = write!(out, "<p class=\"warning\">{}</p>", escape(warning));
    }
    out.push_str("<dl class=\"tiles\">");
    for (name, value) in tiles(report) {
        let _ = write!(out, "<div><dt>{name}<dd>{value}</div>");
    }
    out.push_str("</dl><div class=\"plots\">");
    plots(out, report);
    out.push_str("</div>");
    let _ = write!(out, "<details open><summary>In words</summary><pre>{}</pre></details>", escape(&report.to_string()));
    table(out, "Settings", &settings(report));
    let metrics: Vec<(String, String)> = report.metrics.iter().map(|(name, value)| (name.clone(), format!("{value}"))).collect();
    table(out, "The gateway's own figures, and how its counters moved", &metrics);
    out.push_str("</details></section>");
}

fn tiles(report: &Report) -> Vec<(&'static str, String)> {
    let mut tiles = Vec::new();
    if report.deliveries > 0 {
        tiles.push(("delivered", rate(report.deliveries_per_s())));
    }
    if report.latency.count > 0 {
        let latency = &report.latency;
        let delays = [("p50", latency.p50), ("p99", latency.p99), ("p99.9", latency.p999), ("slowest", latency.max)];
        tiles.extend(delays.map(|(name, value)| (name, time(value))));
    }
    if let Some(server) = report.server.filter(|_| report.deliveries > 0) {
        tiles.push(("CPU a delivery", format!("{:.2} µs", server.cpu_us_per_delivery)));
    }
    let about_sessions = matches!(report.settings.scenario, Scenario::Idle | Scenario::Handshake);
    for (key, label, format) in FIGURES {
        // Every scenario connects, but only some are about connecting.
        let beside = ["resident_bytes_per_session", "handshake_cpu_us", "connects_per_s"].contains(&key) && !about_sessions;
        if let Some(value) = report.figures.get(key).filter(|_| !beside) {
            tiles.push((label, format(*value)));
        }
    }
    tiles
}

/// The settings as names, and values with units.
fn settings(report: &Report) -> Vec<(String, String)> {
    let value = serde_json::to_value(&report.settings).unwrap_or_default();
    let entries = value.as_object().into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), setting(value)?)));
    entries.map(|(key, value)| split_unit(&key, value)).collect()
}

/// The value of a setting on one line; `None` if it is not set.
fn setting(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        Value::String(text) => Some(text.clone()),
        Value::Array(values) if values.is_empty() => None,
        Value::Array(values) => Some(values.iter().filter_map(setting).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members = members.iter().filter_map(|(key, value)| Some(format!("{} {}", key.replace('_', " "), setting(value)?)));
            Some(members.collect::<Vec<_>>().join(", "))
        }
        Value::Number(number) => Some(number.to_string()),
    }
}

/// Moves the unit from the key to the value: `duration_s` and 10 become `duration` and `10 s`.
fn split_unit(key: &str, value: String) -> (String, String) {
    let units = [("_s", "s"), ("_bytes", "bytes")];
    match units.iter().find_map(|(end, unit)| Some((key.strip_suffix(end)?, unit))) {
        Some((name, unit)) => (name.replace('_', " "), format!("{value} {unit}")),
        None => (key.replace('_', " "), value),
    }
}

fn table(out: &mut String, title: &str, rows: &[(String, String)]) {
    if rows.is_empty() {
        return;
    }
    let _ = write!(out, "<details><summary>{title}</summary><div class=\"scroll\"><table><tbody>");
    for (name, value) in rows {
        let _ = write!(out, "<tr><th>{}<td>{}", escape(name), escape(value));
    }
    out.push_str("</tbody></table></div></details>");
}

fn plots(out: &mut String, report: &Report) {
    // The axis is logarithmic in the share of slower messages: 99.9 % is as far from 99 % as that is from 90 %.
    let one_in = |percentile: f64| 1.0 / (1.0 - (percentile / 100.0).min(0.999_999));
    let curve = report.curve.iter().map(|(percentile, value)| (one_in(*percentile), *value)).collect();
    let percentiles =
        Axis { logarithmic: true, label: |one_in| format!("{}%", 100.0 - 100.0 / one_in), marks: vec![1.0, 10.0, 100.0, 1e3, 1e4, 1e5] };
    out.push_str(&svg("Latency by percentile", &percentiles, &delays(), &[Line { name: "measured", class: "a", points: curve }]));
    let with_deliveries = |value: fn(&Slice) -> f64| {
        let slices = report.slices.iter().filter(|slice| slice.deliveries > 0);
        slices.map(|slice| (slice.at, value(slice))).collect::<Vec<_>>()
    };
    let lines = [
        Line { name: "slowest", class: "c", points: with_deliveries(|slice| slice.max) },
        Line { name: "p99", class: "b", points: with_deliveries(|slice| slice.p99) },
        Line { name: "p50", class: "a", points: with_deliveries(|slice| slice.p50) },
    ];
    out.push_str(&svg("Latency over time (before 0: not measured)", &seconds(), &delays(), &lines));
    let rate = report.slices.iter().map(|slice| (slice.at, slice.rate())).collect();
    let rates = Axis {
        logarithmic: false,
        label: |rate| if rate >= 1e3 { format!("{}k/s", rate / 1e3) } else { format!("{rate}/s") },
        marks: Vec::new(),
    };
    out.push_str(&svg("Delivered over time", &seconds(), &rates, &[Line { name: "messages a second", class: "a", points: rate }]));
}

fn delays() -> Axis {
    let label = |microseconds: f64| match microseconds {
        short if short < 1e3 => format!("{short} µs"),
        middle if middle < 1e6 => format!("{} ms", middle / 1e3),
        long => format!("{} s", long / 1e6),
    };
    Axis { logarithmic: true, label, marks: Vec::new() }
}

fn seconds() -> Axis {
    Axis { logarithmic: false, label: |seconds| format!("{seconds} s"), marks: Vec::new() }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
