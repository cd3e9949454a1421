//! The gateway of a session, whether the session moves to others, and how long it received nothing.

/// The gateway of a session, and the times of its messages.
#[derive(Debug, Clone, Copy)]
pub struct Roaming {
    home: usize,
    goes_on: bool,
    heard_at: u64,
    longest_silence: u64,
}

impl Roaming {
    /// A session at the target `home` that does not move.
    pub fn at(home: usize) -> Self {
        Self { home, goes_on: false, heard_at: 0, longest_silence: 0 }
    }

    /// The index of its gateway among the targets.
    pub fn home(&self) -> usize {
        self.home
    }

    /// Lets the session move to the next gateway whenever its own is gone, and its publishes ask for answers.
    pub fn go_on(&mut self) {
        self.goes_on = true;
    }

    /// Whether the session moves to other gateways.
    pub fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Moves the session to the next of `targets`.
    pub fn leave(&mut self, targets: usize) {
        self.home = (self.home + 1) % targets;
    }

    /// Notes a message at `now`, in nanoseconds.
    pub fn hear(&mut self, now: u64) {
        self.longest_silence = self.longest_silence.max(now.saturating_sub(self.heard_at));
        self.heard_at = now;
    }

    /// The longest time without a message since the last call, in nanoseconds, including the current one.
    pub fn take_silence(&mut self, now: u64) -> u64 {
        std::mem::take(&mut self.longest_silence).max(now.saturating_sub(self.heard_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_told_once_and_while_it_lasts() {
        let mut roaming = Roaming::at(2);
        [5, 9, 10].into_iter().for_each(|now| roaming.hear(now));
        assert_eq!([11, 17, 18].map(|now| roaming.take_silence(now)), [5, 7, 8]);
        roaming.leave(3);
        assert_eq!(roaming.home(), 0);
    }
}
