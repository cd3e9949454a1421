//! The report as one self-contained page.

use std::fmt::Write;

use super::Report;
use super::plot::{Axis, Line, svg};
use super::text::{served, time};
use crate::measure::Slice;

const STYLE: &str = include_str!("page.css");

/// A page of all `reports`.
pub fn page(reports: &[Report]) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Belfry load test</title><style>{STYLE}</style><main><h1>Belfry load test</h1>"
    );
    if let Some(report) = reports.first() {
        let machine = &report.machine;
        let _ = write!(
            out,
            "<p class=\"machine\">{} · {} cores · {:.0} GiB · Linux {} · load before {:.2}</p>",
            escape(&machine.processor),
            machine.cores,
            machine.memory_bytes as f64 / f64::from(1 << 30),
            escape(&machine.kernel),
            machine.load_before
        );
    }
    if reports.len() > 1 {
        overview(&mut out, reports);
    }
    reports.iter().for_each(|report| section(&mut out, report));
    out.push_str("</main></html>\n");
    out
}

fn overview(out: &mut String, reports: &[Report]) {
    out.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>scenario<th>server<th>sessions<th>delivered/s<th>p50<th>p99<th>server CPU a delivery<th>checks</thead><tbody>",
    );
    for report in reports {
        let cpu = report.server.map_or_else(|| "–".to_owned(), |server| format!("{:.2} µs", server.cpu_us_per_delivery));
        let _ = write!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{:.0}<td>{}<td>{}<td>{cpu}<td>{}",
            report.settings.scenario.name(),
            escape(&served(&report.settings)),
            report.settings.sessions,
            report.deliveries as f64 / report.measured_s.max(1e-9),
            time(report.latency.p50),
            time(report.latency.p99),
            badge(report)
        );
    }
    out.push_str("</tbody></table></div>");
}

fn badge(report: &Report) -> &'static str {
    if report.holds() { "<b class=\"good\">held</b>" } else { "<b class=\"bad\">failed</b>" }
}

fn section(out: &mut String, report: &Report) {
    let _ = write!(
        out,
        "<section><h2>{} <small>{}</small> {}</h2>",
        report.settings.scenario.name(),
        escape(&served(&report.settings)),
        badge(report)
    );
    for warning in &report.warnings {
        let _ = write!(out, "<p class=\"warning\">{}</p>", escape(warning));
    }
    let tiles = [
        ("delivered", format!("{:.0}/s", report.deliveries as f64 / report.measured_s.max(1e-9))),
        ("p50", time(report.latency.p50)),
        ("p99", time(report.latency.p99)),
        ("p99.9", time(report.latency.p999)),
        ("slowest", time(report.latency.max)),
        ("server CPU a delivery", report.server.map_or_else(|| "–".to_owned(), |server| format!("{:.2} µs", server.cpu_us_per_delivery))),
    ];
    out.push_str("<dl class=\"tiles\">");
    for (name, value) in tiles {
        let _ = write!(out, "<div><dt>{name}<dd>{value}</div>");
    }
    out.push_str("</dl><div class=\"plots\">");
    plots(out, report);
    out.push_str("</div>");
    let _ = write!(out, "<details open><summary>In words</summary><pre>{}</pre></details>", escape(&report.to_string()));
    table(out, "Settings", &settings(report));
    let metrics: Vec<(String, String)> = report.metrics.iter().map(|(name, value)| (name.clone(), format!("{value}"))).collect();
    table(out, "The gateway's own figures, and how its counters moved", &metrics);
    out.push_str("</section>");
}

fn settings(report: &Report) -> Vec<(String, String)> {
    let value = serde_json::to_value(&report.settings).unwrap_or_default();
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))).collect()
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
    // 99.9 % stands as far from 99 % as that from 90 %: the axis counts how rare what is slower gets.
    let rarity = |percentile: f64| 1.0 / (1.0 - (percentile / 100.0).min(0.999_999));
    let curve = report.curve.iter().map(|(percentile, value)| (rarity(*percentile), *value)).collect();
    let seldom =
        Axis { logarithmic: true, label: |rarity| format!("{}%", 100.0 - 100.0 / rarity), marks: vec![1.0, 10.0, 100.0, 1e3, 1e4, 1e5] };
    out.push_str(&svg("Delay by percentile", &seldom, &delays(), &[Line { name: "measured", class: "a", points: curve }]));
    let over_time = |value: fn(&Slice) -> f64| report.slices.iter().map(|slice| (slice.at, value(slice))).collect::<Vec<_>>();
    let heard = |value: fn(&Slice) -> f64| {
        let slices = report.slices.iter().filter(|slice| slice.deliveries > 0);
        slices.map(|slice| (slice.at, value(slice))).collect::<Vec<_>>()
    };
    let lines = [
        Line { name: "slowest", class: "c", points: heard(|slice| slice.max) },
        Line { name: "p99", class: "b", points: heard(|slice| slice.p99) },
        Line { name: "p50", class: "a", points: heard(|slice| slice.p50) },
    ];
    out.push_str(&svg("Delay over time (before 0: not measured)", &seconds(), &delays(), &lines));
    let rate = over_time(Slice::rate);
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
