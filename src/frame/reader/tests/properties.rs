//! Property tests: messages are read whatever their fragments, and wherever the input is cut.

use proptest::prelude::*;
use proptest::sample::Index;

use super::client::{Outcome, deflated, frame, pieces, read_pieces};
use crate::frame::{FrameReader, negotiate};

/// One message as a client sends it.
#[derive(Debug, Clone)]
struct Sent {
    content: Outcome,
    deflate: bool,
    /// The positions at which it is cut into fragments, and the control frame behind each.
    fragments: Vec<(Index, Option<Outcome>)>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let content = prop_oneof![
        "\\PC{0,60}".prop_map(|text| Outcome::Text(text.into_bytes())),
        prop::collection::vec(any::<u8>(), 0..400).prop_map(Outcome::Binary),
        (0usize..70_000).prop_map(|length| Outcome::Text("聊天".bytes().cycle().take(length / 3 * 3).collect())),
    ];
    let control = prop_oneof![prop::collection::vec(any::<u8>(), 0..=125).prop_map(Outcome::Ping), Just(Outcome::Pong)];
    let fragments = prop::collection::vec((any::<Index>(), prop::option::of(control)), 0..4);
    (content, any::<bool>(), fragments).prop_map(|(content, deflate, fragments)| Sent { content, deflate, fragments })
}

/// Appends the frames of a message to `stream`, and the expected results to `expected`. Returns the number of frames.
fn send(sent: &Sent, deflate: bool, stream: &mut Vec<u8>, expected: &mut Vec<Outcome>) -> u32 {
    let (opcode, content) = match &sent.content {
        Outcome::Text(content) => (0x01, content),
        Outcome::Binary(content) => (0x02, content),
        other => unreachable!("{other:?} is no message"),
    };
    let deflate = deflate && sent.deflate;
    let payload = if deflate { deflated(content) } else { content.clone() };
    let mut first = if deflate { opcode | 0x40 } else { opcode };
    let mut fragments: Vec<_> = sent.fragments.iter().map(|(at, control)| (at.index(payload.len() + 1), control)).collect();
    fragments.sort_by_key(|&(at, _)| at);
    let (mut start, mut frames) = (0, 1);
    for (at, control) in fragments {
        stream.extend(frame(first, &payload[start..at]));
        (start, first, frames) = (at, 0x00, frames + 1);
        let Some(control) = control else { continue };
        stream.extend(match control {
            Outcome::Ping(payload) => frame(0x89, payload),
            _ => frame(0x8a, b"unasked"),
        });
        expected.push(control.clone());
        frames += 1;
    }
    stream.extend(frame(first | 0x80, &payload[start..]));
    expected.push(sent.content.clone());
    frames
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_messages_round_trip(
        messages in prop::collection::vec(sent(), 0..8),
        deflate in any::<bool>(),
        cuts in prop::collection::vec(any::<Index>(), 0..40),
    ) {
        let agreement = deflate.then(|| negotiate([&b"permessage-deflate"[..]], false)).flatten();
        let mut reader = FrameReader::new(70_000, agreement.as_ref());
        let (mut stream, mut expected, mut frames) = (Vec::new(), Vec::new(), 0);
        for message in &messages {
            frames += send(message, deflate, &mut stream, &mut expected);
        }
        prop_assert_eq!(read_pieces(&mut reader, &pieces(&stream, &cuts)), expected);
        prop_assert!(!reader.is_mid_message());
        prop_assert_eq!(reader.take_frames(), frames);
    }

    /// Only the moment at which a violation is found depends on the cuts.
    #[test]
    fn results_do_not_depend_on_the_cuts(
        frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..140)), 0..6),
        noise in prop::collection::vec(any::<u8>(), 0..20),
        cuts in prop::collection::vec(any::<Index>(), 0..10),
    ) {
        let agreement = negotiate([&b"permessage-deflate"[..]], false);
        let mut stream: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
        stream.extend(noise);
        let whole = read_pieces(&mut FrameReader::new(300, agreement.as_ref()), &[&stream]);
        let cut = read_pieces(&mut FrameReader::new(300, agreement.as_ref()), &pieces(&stream, &cuts));
        prop_assert_eq!(cut, whole);
    }
}
