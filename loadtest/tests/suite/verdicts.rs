//! What a server does wrong is found: each lie alone, told to one subscriber of five about one message.

use serde_json::json;

use crate::liar::{LIED_ABOUT, Lie, start};
use crate::program::{Outcome, run};

fn run_against(lie: Lie) -> Outcome {
    let url = format!("ws://{}/", start(lie));
    run(&["fanout", "--dialect", "plain", "--sessions", "5", "--url", &url])
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
