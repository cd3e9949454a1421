//! Which gateway a session is at, whether it goes on at another, and how long it heard nothing.

/// A session's gateway, by its place among the targets, and what it has heard there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Roaming {
    home: usize,
    goes_on: bool,
    heard_at: u64,
    longest_silence: u64,
}

impl Roaming {
    /// At the target `home`, where it stays.
    pub(super) fn at(home: usize) -> Self {
        Self { home, goes_on: false, heard_at: 0, longest_silence: 0 }
    }

    /// The place of its gateway among the targets.
    pub(super) fn home(&self) -> usize {
        self.home
    }

    /// From now on it goes on at the next gateway where its own is gone, and its publishes are to be answered.
    pub(super) fn go_on(&mut self) {
        self.goes_on = true;
    }

    /// Whether it does.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// It goes on at the next of `targets`.
    pub(super) fn leave(&mut self, targets: usize) {
        self.home = (self.home + 1) % targets;
    }

    /// A message came at `now`, in nanoseconds.
    pub(super) fn hear(&mut self, now: u64) {
        self.longest_silence = self.longest_silence.max(now.saturating_sub(self.heard_at));
        self.heard_at = now;
    }

    /// The longest time without a message since this was asked last, in nanoseconds; one that goes on included.
    pub(super) fn take_silence(&mut self, now: u64) -> u64 {
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
