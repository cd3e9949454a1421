//! The envelope of a message in Belfry's native dialect, compared byte for byte (PROTOCOL section 3).

use std::ops::Range;

use super::decimal::{leading, trailing};

/// Whether `frame`, without the payload at `payload`, is the envelope of a message of `topic` in `epoch`. An empty
/// `epoch` is unknown and not compared.
pub fn is_intact(frame: &[u8], payload: Range<usize>, topic: &str, epoch: &str) -> bool {
    let (Some(head), Some(tail)) = (frame.get(..payload.start), frame.get(payload.end..)) else { return false };
    intact_head(head, topic, epoch).is_some() && tail == b"}"
}

fn intact_head(head: &[u8], topic: &str, epoch: &str) -> Option<()> {
    let rest = head.strip_prefix(br#"{"op":"message","topic":""#)?.strip_prefix(topic.as_bytes())?.strip_prefix(br#"","epoch":""#)?;
    let rest = match epoch {
        "" => rest.get(rest.iter().position(|byte| *byte == b'"')?..)?,
        epoch => rest.strip_prefix(epoch.as_bytes())?,
    };
    let (_, rest) = leading(rest.strip_prefix(br#"","offset":"#)?)?;
    // An engine whose offsets have holes adds the offset before.
    let rest = rest.strip_prefix(br#","prev":"#).map_or(Some(rest), |rest| Some(leading(rest)?.1))?;
    let rest = rest.strip_prefix(br#","replay":true"#).unwrap_or(rest);
    (rest == br#","data":"#).then_some(())
}

/// The offset in `head`, the part before the payload. It is at the end, before `prev`, or elsewhere.
pub fn offset(head: &[u8]) -> Option<u64> {
    let head = head.strip_suffix(b",\"data\":").unwrap_or(head);
    match trailing(head) {
        Some((before, last)) => match before.strip_suffix(b",\"prev\":") {
            Some(before) => trailing(before).map(|(_, offset)| offset),
            None => Some(last),
        },
        None => {
            let name = b"\"offset\":";
            let start = memchr::memmem::find(head, name)? + name.len();
            leading(&head[start..]).map(|(offset, _)| offset)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intact(frame: &str) -> bool {
        let start = frame.find("1}").unwrap_or(frame.len());
        is_intact(frame.as_bytes(), start..(start + 1).min(frame.len()), "a.b", "k3f9x2")
    }

    #[test]
    fn each_form_of_an_envelope_is_intact() {
        for extra in ["", r#","prev":17"#, r#","replay":true"#, r#","prev":17,"replay":true"#] {
            let frame = format!(r#"{{"op":"message","topic":"a.b","epoch":"k3f9x2","offset":18{extra},"data":1}}"#);
            assert!(intact(&frame), "{frame}");
            assert!(is_intact(frame.as_bytes(), frame.len() - 2..frame.len() - 1, "a.b", ""), "{frame}");
        }
    }

    /// A change of any byte is detected, except in the numbers. The offset is checked elsewhere.
    #[test]
    fn a_changed_byte_is_detected() {
        let frame = r#"{"op":"message","topic":"a.b","epoch":"k3f9x2","offset":18,"data":1}"#;
        for at in (0..frame.len()).filter(|at| !frame[*at..].starts_with(|byte: char| byte.is_ascii_digit()) || frame[..*at].len() < 49) {
            let mut altered = frame.as_bytes().to_vec();
            altered[at] ^= 2;
            assert!(!is_intact(&altered, frame.len() - 2..frame.len() - 1, "a.b", "k3f9x2"), "byte {at}");
        }
    }
}
