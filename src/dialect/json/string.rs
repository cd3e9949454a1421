//! Strings as JSON text.

/// Appends `value` as a JSON string, quotes included.
pub fn string(json: &mut Vec<u8>, value: &str) {
    json.push(b'"');
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < b' ') {
        json.extend_from_slice(&rest[..at]);
        escaped(json, rest[at]);
        rest = &rest[at + 1..];
    }
    json.extend_from_slice(rest);
    json.push(b'"');
}

/// Appends the escape of a byte that a JSON string can't contain (RFC 8259 §7).
fn escaped(json: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => json.extend_from_slice(br#"\""#),
        b'\\' => json.extend_from_slice(br"\\"),
        b'\n' => json.extend_from_slice(br"\n"),
        b'\r' => json.extend_from_slice(br"\r"),
        b'\t' => json.extend_from_slice(br"\t"),
        _ => {
            json.extend_from_slice(br"\u00");
            json.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}
