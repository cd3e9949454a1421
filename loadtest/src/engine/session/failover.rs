//! The failover of a session: its gateway, whether it moves to the next one, and the longest time without a message.

/// The gateway of a session, and the times of its messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Failover {
    gateway: usize,
    is_enabled: bool,
    last_message: u64,
    longest_silence: u64,
}

impl Failover {
    /// A session that stays at the gateway `gateway`.
    pub fn disabled(gateway: usize) -> Self {
        Self { gateway, ..Self::default() }
    }

    /// The index of its gateway among the targets.
    pub fn gateway(&self) -> usize {
        self.gateway
    }

    /// Lets the session move to the next gateway whenever its own is gone. Its publishes ask for answers from now on.
    pub fn enable(&mut self) {
        self.is_enabled = true;
    }

    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Moves the session to the next of `gateways` gateways.
    pub fn next_gateway(&mut self, gateways: usize) {
        self.gateway = (self.gateway + 1) % gateways;
    }

    /// Notes a message at `now`, in nanoseconds.
    pub fn note_message(&mut self, now: u64) {
        self.longest_silence = self.longest_silence.max(now.saturating_sub(self.last_message));
        self.last_message = now;
    }

    /// The longest time without a message since the last call, in nanoseconds, including the current one.
    pub fn take_longest_silence(&mut self, now: u64) -> u64 {
        std::mem::take(&mut self.longest_silence).max(now.saturating_sub(self.last_message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_includes_the_current_one() {
        let mut failover = Failover::disabled(2);
        [5, 9, 10].into_iter().for_each(|now| failover.note_message(now));
        assert_eq!([11, 17, 18].map(|now| failover.take_longest_silence(now)), [5, 7, 8]);
        failover.next_gateway(3);
        assert_eq!(failover.gateway(), 0);
    }
}
