//! Each fault of a server is found: one message is wrong for one subscriber of five.

use serde_json::json;

use crate::faulty_server::{FAULTY_MESSAGE, Fault, start};
use crate::program::{Outcome, run};

fn run_against(fault: Fault) -> Outcome {
    let url = format!("ws://{}/", start(fault));
    run(&["fanout", "--dialect", "plain", "--sessions", "5", "--url", &url])
}

fn run_with_history(fault: Fault) -> Outcome {
    let url = format!("ws://{}/", start(fault));
    run(&["fanout", "--dialect", "plain", "--sessions", "5", "--url", &url, "--deflate=history"])
}

fn expect_found(outcome: &Outcome, expected: &serde_json::Value) {
    assert_eq!(outcome.status, 2, "{outcome:?}");
    for name in ["lost", "behind_sessions", "duplicated", "reordered", "altered", "foreign"] {
        let expected = expected.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
        assert_eq!(outcome.report["verdict"][name].as_u64(), Some(expected), "{name}: {outcome:?}");
    }
}

#[test]
fn a_correct_server_passes() {
    run_against(Fault::None).expect_all_well();
}

#[test]
fn a_correct_server_with_history_passes() {
    let outcome = run_with_history(Fault::History);
    outcome.expect_all_well();
    assert!(outcome.number("/bytes_per_delivery") < 64.0, "nearly all of 128 bytes is a reference: {outcome:?}");
}

/// Deflate has no checksum: a reference that goes one byte too far back inflates to other bytes, and no other check finds that.
#[test]
fn a_distance_that_is_off_by_one_is_found() {
    let outcome = run_with_history(Fault::WrongDistance);
    assert_eq!(outcome.status, 2, "{outcome:?}");
    assert!(outcome.number("/verdict/lost") >= 1.0, "{outcome:?}");
    assert!(outcome.number("/verdict/altered") + outcome.number("/verdict/foreign") >= 1.0, "{outcome:?}");
}

#[test]
fn a_loss_is_found() {
    expect_found(&run_against(Fault::Loss), &json!({"lost": 1}));
}

#[test]
fn a_duplicate_is_found() {
    expect_found(&run_against(Fault::Duplicate), &json!({"duplicated": 1}));
}

#[test]
fn a_reordering_is_found_and_is_no_loss() {
    expect_found(&run_against(Fault::Reordering), &json!({"reordered": 1}));
}

#[test]
fn an_altered_message_counts_as_lost_too() {
    expect_found(&run_against(Fault::Alteration), &json!({"altered": 1, "lost": 1}));
}

#[test]
fn a_stall_is_found() {
    let outcome = run_against(Fault::Stall);
    let lost = outcome.number("/verdict/lost");
    assert!(lost > FAULTY_MESSAGE as f64, "{outcome:?}");
    expect_found(&outcome, &json!({"lost": lost as u64, "behind_sessions": 1}));
}

#[test]
fn a_broken_connection_is_found() {
    let outcome = run_against(Fault::Cut);
    expect_found(&outcome, &json!({}));
    assert_eq!(outcome.report["verdict"]["closes"], json!({"1006": 1}));
}

/// The bug: a session that opened and ended in one read was awaited for a minute.
#[test]
fn a_masked_frame_ends_the_session_that_opened_with_it() {
    let outcome = run_against(Fault::MaskedFrame);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.errors.contains("the server masked a frame"), "{}", outcome.errors);
}
