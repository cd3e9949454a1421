//! Why a command of Centrifugo's API failed.

use hyper::StatusCode;

use crate::codes::ErrorCode;
use crate::dialect::centrifugo::ErrorReply;
use crate::hub::{Disabled, PublishError};
use crate::topic_name::TopicNameError;

/// An error of Centrifugo's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed(pub ErrorReply);

impl From<ErrorCode> for Failed {
    fn from(code: ErrorCode) -> Self {
        Self(code.into())
    }
}

impl From<Disabled> for Failed {
    fn from(error: Disabled) -> Self {
        error.code().into()
    }
}

impl From<PublishError> for Failed {
    fn from(error: PublishError) -> Self {
        error.code().into()
    }
}

impl From<TopicNameError> for Failed {
    fn from(error: TopicNameError) -> Self {
        error.code().into()
    }
}

impl Failed {
    /// The command is malformed, or not supported.
    pub const BAD_REQUEST: Self = Self(ErrorReply::BAD_REQUEST);

    /// The HTTP status, for clients that ask for errors by status.
    pub fn status(self) -> StatusCode {
        match self.0.code {
            103 => StatusCode::FORBIDDEN,
            104 => StatusCode::NOT_FOUND,
            106..=108 => StatusCode::BAD_REQUEST,
            111 => StatusCode::TOO_MANY_REQUESTS,
            112 => StatusCode::RANGE_NOT_SATISFIABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
