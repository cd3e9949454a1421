use super::*;
use crate::codes::CloseCode;

const MASK: [u8; 4] = [1, 2, 3, 4];

fn head(bytes: &[u8]) -> Vec<u8> {
    [bytes, &MASK].concat()
}

fn refused(bytes: &[u8]) -> CloseCode {
    Head::parse(bytes).unwrap_err().code
}

/// RFC 6455 §5.2: a length has three forms.
#[test]
fn lengths_are_read_in_their_shortest_form() {
    for (bytes, length) in [
        (vec![0x82, 0x80], 0),
        (vec![0x82, 0x80 | 125], 125),
        (vec![0x82, 0xfe, 0, 126], 126),
        (vec![0x82, 0xfe, 0xff, 0xff], 65_535),
        (vec![0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
        (vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], (1 << 63) - 1),
    ] {
        let whole = head(&bytes);
        let expected = Head { fin: true, compressed: false, opcode: OpCode::Binary, mask: MASK, payload_bytes: length };
        assert_eq!(Head::parse(&whole), Ok(Some((expected, whole.len()))));
        for cut in 0..whole.len() {
            assert_eq!(Head::parse(&whole[..cut]), Ok(None), "{length} cut at {cut}");
        }
    }
}

/// RFC 6455 §5.2: "the minimal number of bytes MUST be used", "the most significant bit MUST be 0".
#[test]
fn longer_forms_of_a_length_are_refused() {
    for bytes in [
        &[0x82, 0xfe, 0, 125][..],
        &[0x82, 0xfe, 0, 0],
        &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert_eq!(refused(bytes), CloseCode::Protocol, "{bytes:x?}");
    }
}

/// RFC 6455 §5.2, §5.1, §5.5: a violation is reported at the first byte that shows it.
#[test]
fn reserved_unmasked_and_overlong_control_frames_are_refused() {
    for rsv in [0x10, 0x20, 0x30] {
        assert_eq!(refused(&[0x81 | rsv]), CloseCode::Protocol);
    }
    for opcode in (3..=7).chain(11..=15) {
        assert_eq!(refused(&[0x80 | opcode]), CloseCode::Protocol);
    }
    assert_eq!(refused(&[0x81, 0x05]), CloseCode::Protocol);
    for opcode in 8..=10 {
        assert_eq!(refused(&[opcode]), CloseCode::Protocol);
        assert_eq!(refused(&[0x80 | opcode, 0x80 | 126]), CloseCode::Protocol);
        assert_eq!(refused(&[0x80 | opcode, 0x80 | 127]), CloseCode::Protocol);
        assert!(Head::parse(&head(&[0x80 | opcode, 0x80 | 125])).unwrap().is_some());
    }
}

/// RFC 6455 §5.2: heads of the gateway have no mask and are never fragments.
#[test]
fn heads_are_written_in_their_shortest_form() {
    for (length, expected) in [
        (0, vec![0x81, 0]),
        (125, vec![0x81, 125]),
        (126, vec![0x81, 126, 0, 126]),
        (65_535, vec![0x81, 126, 0xff, 0xff]),
        (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let mut frame = Vec::new();
        write_head(&mut frame, OpCode::Text, false, length);
        assert_eq!(frame, expected);
        assert!(frame.len() <= HEAD_BYTES_MAX);
    }
    let mut frame = Vec::new();
    write_head(&mut frame, OpCode::Binary, true, 3);
    assert_eq!(frame, [0xc2, 3]);
}
