//! Where a message stands in its topic: `Offset`, `Epoch`, and the two together as `Position` (PROTOCOL section 1).

use std::fmt;

use rand::Rng;

/// A message's number in its topic: 1, 2, 3 … without holes; 0 stands before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const EPOCH_LEN: usize = 8;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The name of one life of a topic's offsets: random, so that two lives never share one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; EPOCH_LEN]);

impl Epoch {
    /// A new life's name.
    pub fn random() -> Self {
        let mut rng = rand::rng();
        Self(std::array::from_fn(|_| ALPHABET[rng.random_range(0..ALPHABET.len())]))
    }

    /// The epoch of that text; `None` where no epoch is spelt like it.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; EPOCH_LEN] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_alphanumeric).then_some(Self(letters))
    }

    /// The epoch as a client sees it.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an epoch is drawn from ASCII letters and digits")
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An offset in one life of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which life.
    pub epoch: Epoch,
    /// Where in it.
    pub offset: Offset,
}

impl Position {
    /// Whether `later` lies behind this one in the same life.
    pub fn is_before(self, later: Position) -> bool {
        self.epoch == later.epoch && self.offset < later.offset
    }
}
