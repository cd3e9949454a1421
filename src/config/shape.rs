//! The shape of a pattern: where it has literal text. Two of one shape with the same texts are the same pattern, so among many rules those
//! that may be for a topic are found by a look for each shape: most files have few.

/// What stands at one place of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Piece {
    /// A token that is its own.
    Literal,
    /// A namespace of so many bytes, for one token.
    Namespace(usize),
    /// A namespace of so many bytes, for any tokens behind it too.
    NamespaceRest(usize),
    /// `*`.
    Star,
    /// `>`, which is the last.
    Rest,
}

/// The shape of a pattern.
pub(super) fn shape_of(pattern: &str) -> Vec<Piece> {
    pattern.split('.').map(piece).collect()
}

fn piece(token: &str) -> Piece {
    match (token, token.len().saturating_sub(1)) {
        ("*", _) => Piece::Star,
        (">", _) => Piece::Rest,
        (token, len) if token.ends_with('*') => Piece::Namespace(len),
        (token, len) if token.ends_with('>') => Piece::NamespaceRest(len),
        _ => Piece::Literal,
    }
}

/// What `name`, a topic or a pattern, has at the places where `shape` has literal text, into `texts`; `false`: it has too few tokens for
/// it, or too many.
pub(super) fn texts<'s>(name: &'s str, shape: &[Piece], texts: &mut Vec<&'s str>) -> bool {
    texts.clear();
    let mut tokens = name.split('.');
    for piece in shape {
        let Some(token) = tokens.next() else { return false };
        match *piece {
            Piece::Literal => texts.push(token),
            Piece::Namespace(len) | Piece::NamespaceRest(len) => match token.get(..len) {
                Some(namespace) => texts.push(namespace),
                None => return false,
            },
            Piece::Star => {}
            Piece::Rest => return true,
        }
        if matches!(piece, Piece::NamespaceRest(_)) {
            return true;
        }
    }
    tokens.next().is_none()
}
