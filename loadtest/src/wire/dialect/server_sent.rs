//! Server-sent events of Belfry (PROTOCOL section 11): the fields of an event, and the stream's position in its `id`.

/// The data of an event. In a load test it is always one line.
pub fn data(event: &[u8]) -> Option<&[u8]> {
    lines(event).find_map(|line| line.strip_prefix(b"data: "))
}

/// The size of an event's part before its data, in bytes, if that part is only an `id` that has `position`.
pub fn before_data(event: &[u8], position: &str) -> Option<usize> {
    let id = lines(event).next()?.strip_prefix(b"id: ")?;
    let holds = id.split(|byte| *byte == b',').any(|known| known == position.as_bytes());
    let before = b"id: ".len() + id.len() + b"\ndata: ".len();
    (holds && event.get(..before)?.ends_with(b"\ndata: ")).then_some(before)
}

/// Whether the event only sets the time after which clients reconnect, as at a drain.
pub fn is_retry(event: &[u8]) -> bool {
    event.starts_with(b"retry: ") && lines(event).count() == 1
}

fn lines(event: &[u8]) -> impl Iterator<Item = &[u8]> {
    event.split(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_position_of_its_message_in_its_id() {
        let event = b"id: k3f9x2:18,-,other:2\ndata: {}";
        assert_eq!(before_data(event, "k3f9x2:18"), Some(event.len() - 2));
        assert_eq!(data(event), Some(&b"{}"[..]));
        assert_eq!(before_data(event, "k3f9x2:1"), None);
        for other in [&b"data: {}"[..], b"id: k3f9x2:18\nevent: gap\ndata: {}", b": belfry", b"id: k3f9x2:18"] {
            assert_eq!(before_data(other, "k3f9x2:18"), None, "{}", String::from_utf8_lossy(other));
        }
        assert_eq!(data(b"event: subscribed\nid: a:1\ndata: {}"), Some(&b"{}"[..]));
        assert_eq!(data(b": belfry k3f9x2\nretry: 2000"), None);
        assert!(is_retry(b"retry: 3120") && !is_retry(b": belfry k3f9x2\nretry: 2000"));
    }
}
