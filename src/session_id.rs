//! Who is connected: `SessionId` names one connection, `Member` one that presence tells of.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rand::Rng;

/// A session's name: 64 random bits, shown as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// A name that nobody had before.
    pub fn random() -> Self {
        Self(rand::rng().random())
    }

    /// The name as a number, to be written down.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The name that was written down as `number`.
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

/// The text is not 16 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a session's id is 16 hexadecimal digits")]
pub struct SessionIdError;

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        let plain = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !plain {
            return Err(SessionIdError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| SessionIdError)
    }
}

/// What proves that a request speaks for a session which can't be spoken to over its own connection: 128 random bits, shown as 32
/// hexadecimal digits. Unlike its name it is told to nobody else, and goes into no log.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionSecret(u128);

impl SessionSecret {
    /// A secret that nobody had before.
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

/// The text is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a session's secret is 32 hexadecimal digits")]
pub struct SessionSecretError;

impl FromStr for SessionSecret {
    type Err = SessionSecretError;

    fn from_str(text: &str) -> Result<Self, SessionSecretError> {
        let plain = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !plain {
            return Err(SessionSecretError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| SessionSecretError)
    }
}

/// A session as presence shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The session.
    pub session: SessionId,
    /// Its token's `sub` or its key's name; `None` when anonymous.
    pub user: Option<Arc<str>>,
    /// What its tokens say of it beside that, for Centrifugo's clients.
    pub info: Option<Arc<MemberInfo>>,
}

/// What tokens say of a member beside its user, each as JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberInfo {
    /// The connection token's `info`.
    pub session: Option<Box<str>>,
    /// The subscription token's `info`.
    pub topic: Option<Box<str>>,
}

impl MemberInfo {
    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        size_of::<Self>() + text(&self.session) + text(&self.topic)
    }
}
