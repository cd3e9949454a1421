//! Reads request bodies line by line, so that a large body is never whole in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};

use super::body::{BodyError, next_bytes, refuse};
use crate::server::limits::{HttpBytes, Reservation};

/// The largest piece of a body that hyper returns at once, in bytes.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// The lines of one body.
pub struct BodyLines {
    body: Incoming,
    /// Bytes that were received and not yet returned in a line.
    unread: BytesMut,
    /// The length of the prefix of `unread` that has no line feed.
    searched: usize,
    /// Whether the line that ends in `unread` is too long; its beginning was dropped.
    is_too_long: bool,
    ended: bool,
    bytes: usize,
    bounds: Bounds,
    timeout: Duration,
    _reservation: Reservation,
}

/// The bounds of a body and of each line, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The whole body.
    pub body: usize,
    /// One line, without its line feed.
    pub line: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Without its line feed.
    Whole(Bytes),
    /// Longer than [`Bounds::line`].
    TooLong,
}

impl BodyLines {
    /// The lines of `body`. Reserves room for one line in `account`. `timeout` restarts with each byte. The error
    /// refuses a body by its declared length.
    pub fn new(
        headers: &HeaderMap,
        body: Incoming,
        bounds: Bounds,
        timeout: Duration,
        account: &Arc<HttpBytes>,
    ) -> Result<Self, BodyError> {
        let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if declared > bounds.body {
            refuse(headers, body, timeout);
            return Err(BodyError::TooLong { bytes_max: bounds.body });
        }
        let reservation = account.reserve((bounds.line + PIECE_BYTES_MAX).min(declared.max(PIECE_BYTES_MAX)))?;
        let unread = BytesMut::new();
        Ok(Self { body, unread, searched: 0, is_too_long: false, ended: false, bytes: 0, bounds, timeout, _reservation: reservation })
    }

    /// The next line; `None` at the end of the body.
    pub async fn next(&mut self) -> Result<Option<Line>, BodyError> {
        loop {
            if let Some(at) = self.unread[self.searched..].iter().position(|&byte| byte == b'\n') {
                let end = self.searched + at;
                let mut line = self.unread.split_to(end + 1);
                line.truncate(end);
                self.searched = 0;
                return Ok(Some(self.line(line.freeze())));
            }
            self.searched = self.unread.len();
            if self.unread.len() > self.bounds.line {
                self.is_too_long = true;
                self.unread.clear();
                self.searched = 0;
            }
            if self.ended {
                let rest = self.unread.split().freeze();
                let is_nothing = rest.is_empty() && !self.is_too_long;
                self.searched = 0;
                return Ok(if is_nothing { None } else { Some(self.line(rest)) });
            }
            self.read_on().await?;
        }
    }

    /// Drops the whole lines that were received, at most one piece of the body. `dropped` is called for each with
    /// whether it is blank.
    pub fn drop_whole(&mut self, mut dropped: impl FnMut(bool)) {
        let Some(last) = self.unread.iter().rposition(|&byte| byte == b'\n') else { return };
        let whole = self.unread.split_to(last + 1);
        self.searched = 0;
        let mut is_continued = std::mem::take(&mut self.is_too_long);
        for line in whole[..last].split(|&byte| byte == b'\n') {
            dropped(!std::mem::take(&mut is_continued) && line.trim_ascii().is_empty());
        }
    }

    fn line(&mut self, bytes: Bytes) -> Line {
        let is_too_long = std::mem::take(&mut self.is_too_long) || bytes.len() > self.bounds.line;
        if is_too_long { Line::TooLong } else { Line::Whole(bytes) }
    }

    async fn read_on(&mut self) -> Result<(), BodyError> {
        let Some(data) = next_bytes(&mut self.body, self.timeout).await? else {
            self.ended = true;
            return Ok(());
        };
        self.bytes += data.len();
        if self.bytes > self.bounds.body {
            return Err(BodyError::TooLong { bytes_max: self.bounds.body });
        }
        self.unread.extend_from_slice(&data);
        Ok(())
    }
}
