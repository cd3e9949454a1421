//! Work units (PROTOCOL section 7): what a command costs beyond the one unit of every command.

/// Names or patterns in a command that cost a unit.
const NAMES_PER_UNIT: usize = 100;

/// Topics that a command's patterns match that cost a unit.
pub const TOPICS_PER_UNIT: usize = 1_000;

/// Places in the index of topics that were looked at that cost a unit.
const PLACES_PER_UNIT: usize = 8 * TOPICS_PER_UNIT;

/// Bytes of an answer from history that cost a unit.
const HISTORY_BYTES_PER_UNIT: usize = 64 << 10;

/// Members in an answer to `presence` that cost a unit.
const MEMBERS_PER_UNIT: usize = 1_000;

/// The units of so many names or patterns.
pub fn of_names(names: usize) -> u32 {
    units(names, NAMES_PER_UNIT)
}

/// The units of so many places in the index of topics that were looked at.
pub fn of_places(places: usize) -> u32 {
    units(places, PLACES_PER_UNIT)
}

/// The units of so many bytes out of history.
pub fn of_history(bytes: usize) -> u32 {
    units(bytes, HISTORY_BYTES_PER_UNIT)
}

/// The units of so many members.
pub fn of_members(members: usize) -> u32 {
    units(members, MEMBERS_PER_UNIT)
}

fn units(amount: usize, per_unit: usize) -> u32 {
    u32::try_from(amount / per_unit).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 7: 1,000 subscriptions that are resumed at once cost 10 units beside the command's own.
    #[test]
    fn a_client_that_comes_back_pays_little() {
        assert_eq!((of_names(99), of_names(1_000), of_names(2_000)), (0, 10, 20));
        assert_eq!((of_places(20_000), of_members(2_500), of_history(1 << 20)), (2, 2, 16));
    }
}
