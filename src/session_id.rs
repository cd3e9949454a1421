//! Who is connected: `SessionId` names a session, `SessionSecret` proves a request's right to it, `Member` is a session in presence.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rand::Rng;

/// The public name of a session: 64 random bits, written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

impl SessionId {
    /// A new random name.
    pub fn random() -> Self {
        Self(rand::rng().random())
    }

    /// The name as a number, in which form it is stored.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The name that was stored as `number`.
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SessionId {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        parse_hex(text, 16).map(|number| Self(number as u64))
    }
}

/// Proves that an HTTP request may send commands for a session whose own connection carries data to the client only: 128 random bits, written
/// as 32 hexadecimal digits. Unlike the session's name, the secret is known to its client alone, and no log contains it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionSecret(u128);

impl SessionSecret {
    /// A new random secret.
    pub fn random() -> Self {
        Self(rand::rng().random())
    }
}

impl fmt::Display for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret")
    }
}

impl FromStr for SessionSecret {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        parse_hex(text, 32).map(Self)
    }
}

/// The outcome of forwarding a frame of an HTTP request to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// The session has accepted the frame.
    Accepted,
    /// The session already holds as many bytes of such frames as it may.
    Full,
    /// There is no such session.
    NoSession,
}

/// The text is not the expected number of lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {0} lower-case hexadecimal digits")]
pub struct HexError(usize);

/// The number that `text` writes with exactly `digits` lower-case hexadecimal digits.
pub fn parse_hex(text: &str, digits: usize) -> Result<u128, HexError> {
    let is_plain = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_plain.then(|| u128::from_str_radix(text, 16).ok()).flatten().ok_or(HexError(digits))
}

/// A session as presence shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The session.
    pub session: SessionId,
    /// The `sub` of the session's token, or the name of its API key; `None` for an anonymous session.
    pub user: Option<Arc<str>>,
    /// The `info` of its tokens, for clients of Centrifugo's protocol.
    pub info: Option<Arc<MemberInfo>>,
}

/// The `info` of the tokens of a member. Each is a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberInfo {
    /// The connection token's `info`.
    pub session: Option<Box<str>>,
    /// The subscription token's `info`.
    pub topic: Option<Box<str>>,
}

impl MemberInfo {
    /// Both texts. `None`: there is neither.
    pub fn of(session: Option<&str>, topic: Option<&str>) -> Option<Arc<Self>> {
        let info = Self { session: session.map(Into::into), topic: topic.map(Into::into) };
        (info != Self::default()).then(|| Arc::new(info))
    }

    /// The memory that this takes, in bytes.
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        size_of::<Self>() + text(&self.session) + text(&self.topic)
    }
}
