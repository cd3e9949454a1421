//! What a server does wrong is found: each lie alone, told to one subscriber of five about one message.

use serde_json::json;

use crate::liar::{LIED_ABOUT, Lie, start};
use crate::program::{Outcome, run};

fn run_against(lie: Lie) -> Outcome {
    let url = format!("ws://{}/", start(lie));
    run(&["fanout", "--dialect", "plain", "--sessions", "5", "--url", &url])
}

fn run_with_history(lie: Lie) -> Outcome {
    let url = format!("ws://{}/", start(lie));
    run(&["fanout", "--dialect", "plain", "--sessions", "5", "--url", &url, "--deflate=history"])
}

fn found(outcome: &Outcome, expected: &serde_json::Value) {
    assert_eq!(outcome.status, 2, "{outcome:?}");
    for name in ["lost", "behind_sessions", "duplicated", "reordered", "altered", "foreign"] {
        let expected = expected.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
        assert_eq!(outcome.report["verdict"][name].as_u64(), Some(expected), "{name}: {outcome:?}");
    }
}

#[test]
fn an_honest_server_is_not_accused() {
    run_against(Lie::None).expect_all_well();
}

#[test]
fn an_honest_server_that_refers_to_earlier_messages_is_not_accused() {
    let outcome = run_with_history(Lie::History);
    outcome.expect_all_well();
    assert!(outcome.number("/bytes_per_delivery") < 64.0, "nearly all of 128 bytes is a reference: {outcome:?}");
}

/// Deflate has no checksum: a reference that goes one byte too far back inflates to other bytes, and nothing else tells.
#[test]
fn a_distance_that_is_off_by_one_is_found() {
    let outcome = run_with_history(Lie::WrongDistance);
    assert_eq!(outcome.status, 2, "{outcome:?}");
    assert!(outcome.number("/verdict/lost") >= 1.0, "{outcome:?}");
    assert!(outcome.number("/verdict/altered") + outcome.number("/verdict/foreign") >= 1.0, "{outcome:?}");
}

#[test]
fn a_loss_is_found() {
    found(&run_against(Lie::Loss), &json!({"lost": 1}));
}

#[test]
fn a_duplicate_is_found() {
    found(&run_against(Lie::Duplicate), &json!({"duplicated": 1}));
}

#[test]
fn a_reordering_is_found_and_is_no_loss() {
    found(&run_against(Lie::Reordering), &json!({"reordered": 1}));
}

#[test]
fn an_altered_byte_is_found_and_the_message_is_lost_by_it() {
    found(&run_against(Lie::Alteration), &json!({"altered": 1, "lost": 1}));
}

#[test]
fn a_stall_is_found() {
    let outcome = run_against(Lie::Stall);
    let lost = outcome.number("/verdict/lost");
    assert!(lost > LIED_ABOUT as f64, "{outcome:?}");
    found(&outcome, &json!({"lost": lost as u64, "behind_sessions": 1}));
}

#[test]
fn a_session_that_is_cut_is_found() {
    let outcome = run_against(Lie::Cut);
    found(&outcome, &json!({}));
    assert_eq!(outcome.report["verdict"]["closes"], json!({"1006": 1}));
}
