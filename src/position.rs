//! The place of a message in its topic: `Offset`, `Epoch`, and `Position`, which is both (PROTOCOL section 1).

use std::fmt;

use rand::Rng;

/// The number of a message in its topic: 1, 2, 3 … without gaps. 0 is the place before the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset `number` that a client names. A larger one than `i64::MAX` is replaced by that. No topic reaches it, and the offset after it
    /// still fits a `u64`.
    pub fn clamped(number: u64) -> Self {
        Self(number.min(i64::MAX as u64))
    }

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

/// Names the offsets of a topic since its state was last lost. An offset names a message only together with the epoch. Epochs are random, so
/// that no two are alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; EPOCH_LEN]);

impl Epoch {
    /// A new random epoch.
    pub fn random() -> Self {
        let mut rng = rand::rng();
        Self(std::array::from_fn(|_| ALPHABET[rng.random_range(0..ALPHABET.len())]))
    }

    /// The epoch that `text` writes; `None` if it is none of this gateway's form.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; EPOCH_LEN] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_alphanumeric).then_some(Self(letters))
    }

    /// The epoch as clients see it.
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

/// An offset together with its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The epoch of the offset.
    pub epoch: Epoch,
    /// The offset in the epoch.
    pub offset: Offset,
}

impl Position {
    /// Whether `later` has the same epoch and a higher offset.
    pub fn is_before(self, later: Position) -> bool {
        self.epoch == later.epoch && self.offset < later.offset
    }
}
