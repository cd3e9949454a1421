//! The shape of a pattern: the places of its literal texts. Two patterns with the same shape and texts are equal, so
//! the rules that may match a topic are found by one look-up for each shape. Most files have few shapes.

/// One place of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// A literal token.
    Literal,
    /// A namespace of this size in bytes, and one token.
    Namespace(usize),
    /// A namespace of this size in bytes, and one token or more.
    NamespaceRest(usize),
    /// `*`.
    Star,
    /// `>`, at the end.
    Rest,
}

pub fn shape_of(pattern: &str) -> Vec<Piece> {
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

/// Collects into `texts` what `name`, a topic or a pattern, has at the literal places of `shape`. `false` if the
/// numbers of tokens do not fit.
pub fn texts<'s>(name: &'s str, shape: &[Piece], texts: &mut Vec<&'s str>) -> bool {
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
