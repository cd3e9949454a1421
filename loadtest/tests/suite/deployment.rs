//! A gateway that runs already, with TLS and credentials; ramps, bounds, exports and comparisons of reports.

use std::path::Path;
use std::process::Command;

use crate::program::{Served, print, run, run_with_gateway};

/// Writes a certificate for 127.0.0.1 and its key to `folder`. Returns the setting of a gateway that uses them.
fn certify(folder: &Path) -> String {
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate can be made");
    std::fs::write(folder.join("cert.pem"), pair.cert.pem()).expect("the folder takes files");
    std::fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem()).expect("the folder takes files");
    format!("server.tls={{ cert = {:?}, key = {:?} }}", folder.join("cert.pem"), folder.join("key.pem"))
}

#[test]
fn a_deployment_with_tls_and_credentials_is_tested() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let tls = certify(folder.path());
    let key = r#"auth.api_keys=[{ name = "load", key = "load-key", subscribe = ["load.>"], publish = ["load.>"] }]"#;
    let gateway = Served::start(&[&tls, "auth.anonymous={ subscribe = [], publish = [] }", key]);
    let (url, cacert) = (format!("wss://{}/ws", gateway.address), folder.path().join("cert.pem"));
    let arguments = ["fanout", "--sessions", "20", "--rate", "50", "--prefix", "load", "--url", &url, "--cacert"];
    let arguments = [&arguments[..], &[cacert.to_str().expect("the folder's path is text")]].concat();
    let outcome = run(&[&arguments[..], &["--token", "load-key"]].concat());
    outcome.expect_all_well();
    let command = outcome.report["provenance"]["command"].as_str().unwrap_or_default();
    assert!(command.contains("--token …") && !outcome.report.to_string().contains("load-key"), "{command}");
    // Several messages may share a TLS record, and a burst outgrows one read.
    run(&[&arguments[..], &["--token", "load-key", "--payload", "40000", "--burst", "4"]].concat()).expect_all_well();
    let refused = run(&[&arguments[..], &["--token", "wrong"]].concat());
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.errors.contains("is the --token right?"), "{}", refused.errors);
}

/// If gateways act as one, every session receives every message.
#[test]
fn sessions_alternate_among_urls() {
    let everybody = r#"auth.anonymous={ subscribe = ["chat.>"], publish = ["chat.>"] }"#;
    let (one, other) = (Served::start(&[everybody]), Served::start(&[everybody]));
    let [url, second] = [&one, &other].map(|gateway| format!("ws://{}/ws", gateway.address));
    run(&["fanout", "--sessions", "20", "--rate", "50", "--url", &url, "--url", &url]).expect_all_well();
    // These two are not a cluster, so half of the sessions receive nothing.
    let outcome = run(&["fanout", "--sessions", "20", "--rate", "50", "--url", &url, "--url", &second, "--publishers", "1"]);
    assert_eq!(outcome.status, 2, "{outcome:?}");
    assert!(outcome.number("/verdict/lost") > 0.0, "{outcome:?}");
}

#[test]
fn a_broken_bound_fails_the_run() {
    let fanout = ["fanout", "--sessions", "5", "--expect", "lost=0", "--expect", "p99=100s", "--expect", "delivered=1"];
    run_with_gateway(&fanout).expect_all_well();
    let outcome = run_with_gateway(&[&fanout[..], &["--expect", "p50=0us"]].concat());
    assert_eq!(outcome.status, 2, "{outcome:?}");
    let failures = outcome.report["failures"].to_string();
    assert!(failures.contains("p50 is") && !failures.contains("p99"), "{failures}");
    let outcome = run(&["fanout", "--expect", "p99=20"]);
    assert_eq!(outcome.status, 2);
    assert!(outcome.errors.contains("a time needs a unit"), "{}", outcome.errors);
}

/// A rate of 100 that rises over 1 s publishes half as many messages as the full rate; 0.2 s at the full rate follow.
#[test]
fn a_ramp_comes_before_the_measurement() {
    let outcome = run_with_gateway(&["fanout", "--sessions", "4", "--rate", "100", "--ramp", "1"]);
    outcome.expect_all_well();
    let [before, measured] = ["/warm_up/count", "/deliveries"].map(|figure| outcome.number(figure) / 4.0);
    assert!((60.0..=80.0).contains(&before) && (50.0..=70.0).contains(&measured), "{before} {measured}: {outcome:?}");
    let outcome = run(&["fanout", "--ahead", "1", "--ramp", "1"]);
    assert!(outcome.status == 2 && outcome.errors.contains("cannot be used with"), "{outcome:?}");
}

/// The bug: a report that was read by `head` ended the program with a panic.
#[test]
fn a_closed_standard_output_is_no_failure() {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    let served = Served::start(&[]);
    let url = format!("ws://{}/ws", served.address);
    let mut program = Command::new(env!("CARGO_BIN_EXE_belfry-loadtest"));
    let output = program.args(["fanout", "--sessions", "1", "--duration", "0.2", "--url", &url]).stdout(writer).output();
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn reports_are_exported_and_compared() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str| folder.path().join(name).to_str().expect("the folder's path is text").to_owned();
    let outcome = run_with_gateway(&["fanout", "--sessions", "5", "--hdr", &file("delays.hgrm")]);
    outcome.expect_all_well();
    assert_eq!(outcome.report["latency"]["unit"], "us");
    assert!(outcome.report["provenance"]["date"].as_str().is_some_and(|date| date.ends_with('Z')), "{outcome:?}");
    let delays = std::fs::read_to_string(file("delays.hgrm")).expect("the latencies are written");
    assert!(delays.contains("1.000000000000") && delays.contains("#[Max"), "{delays}");
    std::fs::write(file("a.json"), outcome.report.to_string()).expect("the folder takes files");
    let compared = print(&["diff", &file("a.json"), &file("a.json")]);
    assert!(compared.contains("### fanout, json") && compared.contains("| 1.00 |"), "{compared}");
}

#[test]
fn the_help_has_the_defaults_of_each_scenario() {
    assert!(print(&["fanout", "--help"]).contains("--sessions 1000 --rate 100"));
    assert!(print(&["market", "--help"]).contains("--sessions 2000 --rate 2000 --topics 200"));
}
