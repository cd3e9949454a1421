//! The trait through which what was read goes up to whoever decides.

use std::sync::Arc;

use super::seat::Seat;
use crate::frame::Inflater;

/// Reads what one session said and decides what follows. Its shard calls it, on the shard's thread, and it never waits.
pub trait Reader: Send {
    /// The session begins; what it is told first goes out now.
    fn open(&mut self, seat: &mut Seat<'_>);

    /// Takes what `input` holds and says how many bytes of it were used. It stops early when the seat says that it
    /// can't go on, or when it has had its share of the turn; the rest comes again, before anything newer.
    fn read(&mut self, input: &mut [u8], inflater: &mut Inflater, seat: &mut Seat<'_>) -> usize;

    /// Its deadline (see [`Seat::wake_at`]) has passed.
    fn deadline(&mut self, seat: &mut Seat<'_>);

    /// The configuration has changed.
    fn reload(&mut self, seat: &mut Seat<'_>);

    /// The user as `/v1/sessions` shows it.
    fn user(&self) -> Option<Arc<str>>;
}
