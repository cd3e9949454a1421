use super::*;
use proptest::prelude::*;

const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn answer(headers: &[&str]) -> Option<(u8, String)> {
    negotiate(headers.iter().map(|header| header.as_bytes()), false).map(|agreement| (agreement.window.bits, agreement.response))
}

/// RFC 7692 §7.1: these are the offers of browsers and libraries.
#[test]
fn offers_with_known_parameters_are_accepted() {
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate;server_no_context_takeover;client_no_context_takeover",
        "  permessage-deflate\t;\tclient_max_window_bits = \"1\\0\"  ",
        "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits",
        ", ,permessage-deflate,,",
    ] {
        assert_eq!(answer(&[offer]), Some((15, PLAIN.to_owned())), "{offer}");
    }
    for bits in 8..=15 {
        let expected = Some((bits, format!("{PLAIN}; server_max_window_bits={bits}")));
        assert_eq!(answer(&[&format!("permessage-deflate; server_max_window_bits={bits}")]), expected);
        assert_eq!(answer(&[&format!("permessage-deflate; server_max_window_bits=\"{bits}\"")]), expected);
    }
}

/// PROTOCOL 12: with history the client keeps its window unless it asks otherwise. The response names no window that
/// was not offered.
#[test]
fn with_history_the_client_keeps_its_window() {
    let kept = "permessage-deflate; client_no_context_takeover";
    for (offer, bits, is_kept, response) in [
        ("permessage-deflate", 15, true, kept.to_owned()),
        ("permessage-deflate; client_max_window_bits", 15, true, kept.to_owned()),
        ("permessage-deflate; client_no_context_takeover; client_max_window_bits=9", 15, true, kept.to_owned()),
        ("permessage-deflate; server_max_window_bits=9", 9, true, format!("{kept}; server_max_window_bits=9")),
        ("permessage-deflate; server_no_context_takeover", 15, false, PLAIN.to_owned()),
        (
            "permessage-deflate; server_max_window_bits=8; server_no_context_takeover",
            8,
            false,
            format!("{PLAIN}; server_max_window_bits=8"),
        ),
    ] {
        let expected = Some(Agreement { window: ServerWindow { bits, is_kept }, response });
        assert_eq!(negotiate([offer.as_bytes()], true), expected, "{offer}");
    }
    assert!(!negotiate([&b"permessage-deflate"[..]], false).unwrap().window.is_kept);
}

/// RFC 7692 §7.1, §5.1: an offer with an unknown, repeated or invalid parameter is declined.
#[test]
fn offers_with_other_parameters_are_declined() {
    assert_eq!(answer(&[]), None);
    for parameters in [
        "unknown",
        "unknown=1",
        "server_no_context_takeover=1",
        "client_no_context_takeover=\"\"",
        "client_no_context_takeover; client_no_context_takeover",
        "server_no_context_takeover; server_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits; client_max_window_bits=10",
        "Server_No_Context_Takeover",
    ] {
        assert_eq!(answer(&[&format!("permessage-deflate; {parameters}")]), None, "{parameters}");
    }
    for value in ["7", "16", "08", "015", "0", "+9", "-9", "9.0", "1e1", "99999999999999999999", "ten", "\"9 \"", "\"\"", "", "\"9"] {
        for name in ["server_max_window_bits", "client_max_window_bits"] {
            assert_eq!(answer(&[&format!("permessage-deflate; {name}={value}")]), None, "{name}={value}");
        }
    }
    for name in ["permessage-bzip2", "permessage-deflate2", "PERMESSAGE-DEFLATE"] {
        assert_eq!(answer(&[name]), None, "{name}");
    }
}

/// RFC 7692 §5.1: offers are in the client's order of preference, in one header or several.
#[test]
fn the_first_acceptable_offer_wins() {
    let expected = Some((10, format!("{PLAIN}; server_max_window_bits=10")));
    let offers = ["permessage-deflate; unknown", "permessage-deflate; server_max_window_bits=10", "permessage-deflate"];
    assert_eq!(answer(&offers), expected);
    assert_eq!(answer(&[&offers.join(", ")]), expected);
}

/// RFC 6455 §9.1: a header that violates the grammar is ignored, and the others are not.
#[test]
fn a_malformed_header_is_ignored() {
    for header in [
        "permessage-deflate;",
        "permessage-deflate; =1",
        "permessage-deflate client_max_window_bits",
        ";",
        "a=b",
        "permessage-deflate, \"x\"",
    ] {
        assert_eq!(answer(&[header]), None, "{header}");
        assert!(answer(&[header, "permessage-deflate"]).is_some(), "{header}");
    }
    assert!(negotiate([&b"permessage-deflate; x=\xff"[..], b"permessage-deflate"], false).is_some());
}

/// Eight offers are examined, which bounds the work.
#[test]
fn the_ninth_offer_is_not_examined() {
    let declined = "permessage-deflate; unknown, ";
    assert!(answer(&[&(declined.repeat(7) + "permessage-deflate")]).is_some());
    assert!(answer(&[&(declined.repeat(8) + "permessage-deflate")]).is_none());
}

proptest! {
    #[test]
    fn no_header_panics(header in prop::collection::vec(any::<u8>(), 0..200), near in "permessage-deflate([;,= \"\\\\a-z_0-9]{0,60})") {
        let _ = negotiate([&header[..]], true);
        if let Some(agreement) = negotiate([near.as_bytes()], true) {
            prop_assert!((8..=15).contains(&agreement.window.bits));
        }
    }
}
