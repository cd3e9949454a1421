//! The gateway's own options of a subscription, which applications put into the `data` of a subscribe because SDKs do not know them.

use std::time::Duration;

use crate::dialect::bounds::INTERVAL_MS;
use crate::dialect::json::Members;

/// Options in the `data` of a subscribe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// `interval_ms`: the shortest time between two messages.
    pub interval: Option<Duration>,
    /// `last`: how many of the newest messages are replayed.
    pub last: Option<usize>,
}

impl Options {
    /// The options in `data`. Applications may use `data` for other purposes, so unknown members, invalid values and anything but an object are
    /// ignored.
    pub fn of(data: &[u8]) -> Self {
        let mut options = Self::default();
        let Some(members) = str::from_utf8(data).ok().and_then(|text| Members::of(text).ok()) else { return options };
        for (key, raw) in members.map_while(Result::ok) {
            match &*key {
                "interval_ms" => {
                    let interval = raw.parse().ok().filter(|interval| INTERVAL_MS.contains(interval));
                    options.interval = interval.map(Duration::from_millis);
                }
                "last" => options.last = raw.parse().ok(),
                _ => {}
            }
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_in_the_data_of_an_application() {
        let both = Options { interval: Some(Duration::from_millis(250)), last: Some(5) };
        assert_eq!(Options::of(br#"{"interval_ms":250,"mine":{"last":9},"last":5}"#), both);
        for ignored in [&b""[..], b"[1]", b"\"x\"", b"{", b"{\"interval_ms\":9,\"last\":-1}", b"{\"last\":\"5\"}", b"\xff"] {
            assert_eq!(Options::of(ignored), Options::default(), "{ignored:?}");
        }
    }
}
