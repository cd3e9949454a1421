//! The protocols of peers, against fake servers: the load is delivered, and a loss is found.

use crate::fake_server::{FakeServer, Protocol};
use crate::program::{Outcome, run, run_with_gateway};

const SESSIONS: usize = 12;

fn market(fake: &FakeServer, target: &str) -> Outcome {
    let url = format!("ws://{}/ws", fake.address);
    run(&["market", "--target", target, "--url", &url, "--sessions", "12", "--topics", "12", "--rate", "200", "--publishers", "1"])
}

fn expect_delivery_and_found_loss(protocol: Protocol, target: &str) {
    market(&FakeServer::start(protocol, 0), target).expect_all_well();
    let outcome = market(&FakeServer::start(protocol, 100), target);
    assert_eq!(outcome.status, 2, "{outcome:?}");
    assert_eq!(outcome.number("/verdict/lost"), 1.0, "{outcome:?}");
}

#[test]
fn the_bare_protocol_is_supported() {
    expect_delivery_and_found_loss(Protocol::Bare, "uwebsockets");
}

#[test]
fn nchan_is_published_to_over_http() {
    expect_delivery_and_found_loss(Protocol::Nchan, "nchan");
}

#[test]
fn the_protocol_of_centrifugo_is_supported() {
    expect_delivery_and_found_loss(Protocol::Centrifugo, "centrifugo");
}

/// Centrifugo closes sessions that do not answer its pings, and a ping may share its frame with other replies.
#[test]
fn pings_of_centrifugo_are_answered() {
    let fake = FakeServer::start(Protocol::Centrifugo, 0);
    market(&fake, "centrifugo").expect_all_well();
    assert_eq!(fake.pongs(), SESSIONS + 1, "each subscriber, and the publisher");
}

#[test]
fn a_server_without_deflate_is_refused() {
    let fake = FakeServer::start(Protocol::Bare, 0);
    let outcome = run(&["fanout", "--target", "uwebsockets", "--url", &format!("ws://{}/", fake.address), "--deflate", "-n", "2"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.errors.contains("permessage-deflate"), "{}", outcome.errors);
}

#[test]
fn a_server_that_is_not_installed_is_reported_or_left_out() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("centrifugo"), "not a program").expect("the folder takes files");
    let peers = folder.path().to_str().expect("the folder's path is text");
    let arguments = ["compare", "--with", "json,centrifugo", "--repeat", "1", "--sessions", "3", "--peers", peers];
    let outcome = run_with_gateway(&arguments);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.errors.contains("centrifugo"), "{}", outcome.errors);
    let outcome = run_with_gateway(&[&arguments[..], &["--keep-going"]].concat());
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(outcome.errors.contains("centrifugo is left out"), "{}", outcome.errors);
}

#[test]
fn a_dialect_that_does_not_fit_is_refused_at_once() {
    for (arguments, words) in [
        (&["market", "--dialect", "raw"][..], "market takes many topics a session, and raw takes one"),
        (&["storm", "--dialect", "raw"], "raw has no positions to resume from"),
        (&["storm", "--dialect", "nats"], "nats has no positions to resume from"),
        (&["churn", "--dialect", "raw"], "those of raw keep theirs"),
        (&["churn", "--dialect", "sse"], "those of sse keep theirs"),
        (&["churn", "--dialect", "stream"], "those of stream keep theirs"),
        (&["churn", "--dialect", "nats"], "those of nats keep theirs"),
        (&["failover", "--dialect", "sse"], "it needs --dialect json"),
        (&["chat", "--dialect", "stream"], "stream only listens"),
        (&["fanout", "--dialect", "sse", "--deflate"], "sse is never compressed"),
        (&["chat", "--publish-by", "http"], "--publish-by http"),
        (&["fanout", "--dialect", "nats", "--publish-by", "http"], "nats takes no --publish-by http"),
        (&["fanout", "--target", "json-two-shards"], "--start"),
        (&["compare", "--with", "nonsense"], "\"nonsense\" is no server"),
    ] {
        let outcome = run(arguments);
        assert_ne!(outcome.status, 0, "{arguments:?}: {outcome:?}");
        assert!(outcome.errors.contains(words), "{arguments:?}: {}", outcome.errors);
    }
}
