//! The limit of open files, which bounds the number of sessions.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors reserved for listeners, logs, feeds, shards and HTTP requests.
const RESERVED: u64 = 64;

/// Raises the soft limit of open files to the hard limit. Returns how many sessions it allows.
pub fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
    sessions_possible(getrlimit(Resource::Nofile).current)
}

/// How many sessions `open_files` allows; `None` is no limit.
fn sessions_possible(open_files: Option<u64>) -> usize {
    open_files.map_or(usize::MAX, |most| usize::try_from(most.saturating_sub(RESERVED)).unwrap_or(usize::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threats, row 25: sessions are at most the open files less 64.
    #[test]
    fn sessions_leave_room_for_the_rest() {
        assert_eq!(sessions_possible(Some(20_000)), 19_936);
        assert_eq!(sessions_possible(Some(10)), 1);
        assert_eq!(sessions_possible(None), usize::MAX);
    }
}
