//! Tests of the commands of PROTOCOL section 3.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::metrics::{Metrics, Tally};
use crate::topic_name::tests::name;

fn command(text: &str) -> Command<'_> {
    request(text.as_bytes()).unwrap_or_else(|refusal| panic!("{text} was refused: {refusal:?}")).command
}

fn refusal(text: &str) -> (ErrorCode, Option<&str>, String) {
    let refusal = request(text.as_bytes()).expect_err(text);
    (refusal.code, refusal.id.map(|RequestId(id)| id), refusal.message)
}

#[test]
fn all_members_of_a_subscribe_are_parsed() {
    let text = r#" {"op":"subscribe","id":1,"topics":["quotes.AAPL","chat.>","a b"],"last":3,"interval_ms":250,"presence":true,
        "since":{"quotes.AAPL":{"epoch":"k3f9","offset":12}}} "#;
    let Command::Subscribe { topics, last, since, interval, presence } = command(text) else { panic!("not a subscribe") };
    assert_eq!(topics[..2], [Pattern::parse("quotes.AAPL"), Pattern::parse("chat.>")]);
    assert!(matches!(topics[2], Err(TopicNameError::Character { .. })));
    assert_eq!((last, interval, presence), (Some(3), Some(Duration::from_millis(250)), true));
    assert_eq!(since, [Since { topic: name("quotes.AAPL"), epoch: "k3f9".into(), offset: Offset(12) }]);
}

#[test]
fn all_other_commands_are_parsed() {
    let publish = command(r#"{"op":"publish","topic":"chat.lobby","data": {"p" :1.50} ,"echo":false}"#);
    assert_eq!(publish, Command::Publish { topic: name("chat.lobby"), data: br#"{"p" :1.50}"#, echo: false });
    let history = command(r#"{"op":"history","topic":"a","since":12,"limit":5000}"#);
    assert_eq!(history, Command::History { topic: name("a"), since: Some(Offset(12)), limit: 1000 });
    assert_eq!(command(r#"{"op":"history","topic":"a"}"#), Command::History { topic: name("a"), since: None, limit: 100 });
    assert_eq!(command(r#"{"op":"unsubscribe","topics":["a.*"]}"#), Command::Unsubscribe { topics: vec![Pattern::parse("a.*")] });
    assert_eq!(command(r#"{"op":"presence","topic":"a"}"#), Command::Presence { topic: name("a") });
    assert_eq!(command(r#"{"op":"auth","token":"x\u002ey"}"#), Command::Auth { token: "x.y".into() });
    assert_eq!(command(r#"{"op":"subscriptions"}"#), Command::Subscriptions);
    assert_eq!(command(r#"{"\u006fp":"ping","later":[1,{"op":2}]}"#), Command::Ping);
}

#[test]
fn an_id_keeps_its_json_text() {
    for id in ["7", "-0", "1234567890123456789012345678901234567890", r#""""#, r#""a\u00e9\n""#, r#""\ud800""#] {
        let text = format!(r#"{{"op":"ping","id":{id}}}"#);
        assert_eq!(request(text.as_bytes()).unwrap().id, Some(RequestId(id)));
    }
    for id in ["1.0", "1e3", "true", "null", "{}", "[1]"] {
        let (code, returned, message) = refusal_of(format!(r#"{{"op":"ping","id":{id}}}"#));
        assert_eq!((code, returned), (ErrorCode::BadRequest, None), "{message}");
    }
}

/// PROTOCOL 3: a reply has the `id` that the client chose. The bug: of a text that is no JSON, the refusal had the number with which the
/// `id` began.
#[test]
fn a_part_of_a_number_is_no_id() {
    for id in ["01}", "-01}", "00}", "12abc}", "12 abc}", "7", "7 ", "-", "7:1}", "7]", "7\"op\":1}"] {
        let (code, returned, message) = refusal_of(format!(r#"{{"op":"ping","id":{id}"#));
        assert_eq!((code, returned), (ErrorCode::BadRequest, None), "{id}: {message}");
    }
    for end in [",", " ,x", "} x", "\n}}"] {
        let (code, returned, message) = refusal_of(format!(r#"{{"op":"ping","id":7{end}"#));
        assert_eq!((code, returned.as_deref()), (ErrorCode::BadRequest, Some("7")), "{end}: {message}");
    }
}

fn refusal_of(text: String) -> (ErrorCode, Option<String>, String) {
    let (code, id, message) = refusal(&text);
    (code, id.map(str::to_owned), message)
}

/// A refusal has the command's `id`, wherever the `id` is. Its text has the member, its value, and what is allowed.
#[test]
fn refusals_name_the_member() {
    let refused = [
        (r#"{"op":"subscribe","topics":[],"id":9}"#, "`topics` is empty; it must be a list of one or more topics or patterns"),
        (r#"{"op":"subscribe","topics":"a","id":9}"#, "`topics` is a string; it must be a list of one or more topics or patterns"),
        (r#"{"op":"subscribe","topics":["a",1],"id":9}"#, "`topics[1]` is an integer; it must be a string"),
        (r#"{"op":"subscribe","id":9}"#, "`topics` is missing; it must be a list of one or more topics or patterns"),
        (r#"{"op":"subscribe","topics":["a"],"last":-1,"id":9}"#, "`last` is -1; it must be an integer of 0 or more"),
        (
            r#"{"op":"subscribe","topics":["a"],"last":1.0,"id":9}"#,
            "`last` is a number with a fraction or an exponent; it must be an integer of 0 or more",
        ),
        (r#"{"op":"subscribe","topics":["a"],"presence":1,"id":9}"#, "`presence` is an integer; it must be true or false"),
        (
            r#"{"op":"subscribe","topics":["a"],"since":5,"id":9}"#,
            "`since` is an integer; it must be an object of topics, each with `epoch` and `offset`",
        ),
        (
            r#"{"op":"subscribe","topics":["a"],"since":{"a":{"epoch":"x"}},"id":9}"#,
            "`since.a.offset` is missing; it must be an integer of 0 or more",
        ),
        (r#"{"op":"publish","topic":"a","id":9}"#, "`data` is missing; it must be any JSON value"),
        (r#"{"op":"publish","topic":"a","data":1,"echo":null,"id":9}"#, "`echo` is null; it must be true or false"),
        (r#"{"op":"history","topic":"a","limit":0,"id":9}"#, "`limit` is 0; it must be an integer of 1 or more"),
        (r#"{"op":"auth","token":{},"id":9}"#, "`token` is an object; it must be a string"),
        (r#"{"id":9}"#, "`op` is missing; it must be a string"),
        (r#"{"op":"ping","op":"ping","id":9}"#, "`op` is given twice"),
        (r#"{"op":"ping","x":1,"\u0078":1,"id":9}"#, "`x` is given twice"),
        (r#"{"op":"ping","id":9,}"#, "the command can't be read as JSON: byte 20 is not valid in JSON"),
    ];
    for (text, message) in refused {
        assert_eq!(refusal(text), (ErrorCode::BadRequest, Some("9"), message.to_owned()), "{text}");
    }
}

/// PROTOCOL 3: `interval_ms` is 10 to 3,600,000. The bug: most refusals said that 0 is allowed, or named another value.
#[test]
fn a_refused_interval_names_its_bounds() {
    for (interval, what) in [
        ("9", "9"),
        ("0", "0"),
        ("-0", "-0"),
        ("-1", "-1"),
        ("3600001", "3600001"),
        ("99999999999999999999", "99999999999999999999"),
        (r#""10""#, "a string"),
        ("10.0", "a number with a fraction or an exponent"),
        ("null", "null"),
    ] {
        let (code, _, message) = refusal_of(format!(r#"{{"op":"subscribe","topics":["a"],"interval_ms":{interval}}}"#));
        assert_eq!(code, ErrorCode::BadRequest);
        assert_eq!(message, format!("`interval_ms` is {what}; it must be an integer from 10 to 3600000"));
    }
}

#[test]
fn texts_without_a_command_are_refused() {
    for text in ["", "[]", "1", "null", "\"x\"", "{", "{\"op\":\"ping\"} x", r#"{"op":"ping","id":1,"id":1}"#, "subscribe"] {
        let (code, id, message) = refusal(text);
        assert_eq!((code, id), (ErrorCode::BadRequest, None), "{text}: {message}");
    }
    assert_eq!(request(b"{\"op\":\"\xff\"}").expect_err("not UTF-8").code, ErrorCode::BadRequest);
}

#[test]
fn unknown_ops_are_named() {
    let (code, id, message) = refusal(r#"{"op":"Other","id":"q"}"#);
    assert_eq!((code, id), (ErrorCode::UnknownOp, Some(r#""q""#)));
    assert!(message.starts_with(r#"op "Other" is unknown; the ops are subscribe, "#), "{message}");
    assert_eq!(refusal(r#"{"op":"other"}"#).0, ErrorCode::UnknownOp);
}

/// PROTOCOL 9: no text of a client becomes a label of a metric.
#[test]
fn ten_thousand_unknown_ops_add_no_series() {
    let metrics = Arc::new(Metrics::new());
    let series = |text: String| text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect::<BTreeSet<_>>();
    let before = series(metrics.render());
    let mut tally = Tally::new(Arc::clone(&metrics));
    for number in 0..10_000 {
        let text = format!(r#"{{"op":"op{number}"}}"#);
        let refusal = request(text.as_bytes()).expect_err("the op is unknown");
        tally.count(refusal.op, 1);
        tally.count(refusal.code, 1);
    }
    tally.hand_over();
    let text = metrics.render();
    assert!(text.contains("belfry_commands_total{op=\"other\"} 10000\n"), "{text}");
    assert_eq!(series(text), before);
}

#[test]
fn invalid_topics_stay_in_the_list() {
    for op in [r#""publish","data":1"#, r#""history""#, r#""presence""#] {
        for topic in ["a.*", "a..b", ""] {
            assert_eq!(refusal_of(format!(r#"{{"op":{op},"topic":"{topic}","id":2}}"#)).0, ErrorCode::BadTopic);
        }
        assert_eq!(refusal_of(format!(r#"{{"op":{op},"topic":5}}"#)).0, ErrorCode::BadRequest);
    }
    assert_eq!(refusal(r#"{"op":"subscribe","topics":["a"],"since":{"a.*":{"epoch":"x","offset":1}}}"#).0, ErrorCode::BadRequest);
}

/// The 64 levels of nesting are counted within `data`, without the command's own object.
#[test]
fn depth_is_counted_within_each_member() {
    let publish = |depth| format!(r#"{{"op":"publish","id":3,"topic":"a","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(request(publish(64).as_bytes()).is_ok());
    let (code, id, _) = refusal_of(publish(65));
    assert_eq!((code, id.as_deref()), (ErrorCode::BadRequest, Some("3")));
}

#[test]
fn large_numbers_are_clamped() {
    let text =
        r#"{"op":"subscribe","topics":["a"],"last":99999999999999999999999,"since":{"a":{"epoch":"e","offset":18446744073709551615}}}"#;
    let Command::Subscribe { last, since, .. } = command(text) else { panic!("not a subscribe") };
    assert_eq!((last, since[0].offset), (Some(usize::MAX), Offset(i64::MAX as u64)));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = request(&bytes);
    }

    #[test]
    fn almost_valid_commands_do_not_panic(text in r#"\{("(op|id|topics|since|last|x)":("(ping|subscribe|a)"|\["a",?\]|\{"a":\{"offset":1\}\}|-?[0-9.e]{1,3}),?){0,4}\}?"#) {
        let _ = request(text.as_bytes());
    }

    /// A command that a JSON library writes is parsed to its values.
    #[test]
    fn escaped_strings_are_parsed(token in "\\PC{0,40}|[\"\\\\\n\u{1}a]{0,9}") {
        let text = serde_json::json!({"op": "auth", "token": token}).to_string();
        prop_assert_eq!(command(&text), Command::Auth { token: token.into() });
    }
}
