//! The units of work that a command costs beyond its one (PROTOCOL section 7).

/// The names or patterns of a command that cost one unit.
const NAMES_PER_UNIT: usize = 100;

/// The topics matched by a command's patterns that cost one unit.
pub const TOPICS_PER_UNIT: usize = 1_000;

/// The visited nodes of the index of topics that cost one unit.
const NODES_PER_UNIT: usize = 8 * TOPICS_PER_UNIT;

/// The bytes of an answer from history that cost one unit.
const HISTORY_BYTES_PER_UNIT: usize = 64 << 10;

/// The members in an answer to `presence` that cost one unit.
const MEMBERS_PER_UNIT: usize = 1_000;

/// The units of `names` names or patterns.
pub fn of_names(names: usize) -> u32 {
    units(names, NAMES_PER_UNIT)
}

/// The units of `nodes` visited nodes of the index of topics.
pub fn of_nodes(nodes: usize) -> u32 {
    units(nodes, NODES_PER_UNIT)
}

/// The units of `bytes` from history.
pub fn of_history(bytes: usize) -> u32 {
    units(bytes, HISTORY_BYTES_PER_UNIT)
}

/// The units of `members` members.
pub fn of_members(members: usize) -> u32 {
    units(members, MEMBERS_PER_UNIT)
}

fn units(amount: usize, per_unit: usize) -> u32 {
    u32::try_from(amount / per_unit).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 7: a command that resumes 1,000 subscriptions costs 10 units beside its own.
    #[test]
    fn a_returning_client_pays_little() {
        assert_eq!((of_names(99), of_names(1_000), of_names(2_000)), (0, 10, 20));
        assert_eq!((of_nodes(20_000), of_members(2_500), of_history(1 << 20)), (2, 2, 16));
    }
}
