//! How the members of a group share its events.
//!
//! Events with a key stick to a member, so that the order of a key survives competition; they are placed by rendezvous
//! hashing (Thaler and Ravishankar, *A Name-Based Mapping Scheme for Rendezvous*, 1996): each member gets a score from the
//! key and its id, the highest score wins. A member that joins takes over just the keys it now wins; when one leaves, only
//! its own keys move. No table is kept, and every process that knows the members comes to the same answer.
//!
//! The score is fixed, so that it may be relied on between processes and versions: FNV-1a (64 bits) over the bytes of the
//! key, exclusive-or the `SplitMix64` finalizer of the member's id, through that finalizer once more. Equal scores go to the
//! smaller id.
//!
//! Events without a key follow the group's [`GroupRule`].

/// Names a member of a group, uniquely within the group and for as long as it is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// A member and how busy it is, in events waiting or running; any unit will do as long as all members use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberLoad {
    /// Who.
    pub id: MemberId,
    /// How busy. Asked under [`GroupRule::LeastLoaded`] only.
    pub load: usize,
}

/// Who gets an event without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum GroupRule {
    /// The members in turn, in the order of their ids.
    #[default]
    RoundRobin,
    /// The member with the smallest load; those that share it, in turn.
    LeastLoaded,
}

/// Whose turn it is. One per group; starts with the smallest id.
///
/// It remembers the last member, not a position, so that members may come, go and be listed in any order without anybody
/// being passed over or served twice in a row while others wait.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    last: Option<MemberId>,
}

/// A key, as far as its place among members is concerned: for who places events again when members come and go, and does not
/// want to keep their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(u64);

impl KeyHash {
    /// That of a key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(fnv_1a(key.as_bytes()))
    }

    /// The member that the key sticks to: an index into `members`, `None` if there are none. The same member as
    /// [`choose`]'s.
    pub fn holder(self, members: impl IntoIterator<Item = MemberId>) -> Option<usize> {
        let by_score = |(_, member): &(usize, MemberId)| (score(self.0, *member), std::cmp::Reverse(*member));
        members.into_iter().enumerate().max_by_key(by_score).map(|(index, _)| index)
    }
}

/// Chooses the member for one event: an index into `members`, `None` if there are none.
///
/// An event with a key goes to the member that the key sticks to, whatever `rule` and loads say, and leaves `rotation`
/// alone. One without follows `rule`. Linear in the number of members; allocates nothing. The order of `members` does not
/// matter.
///
/// ```
/// # use busway_router::{GroupRule, MemberId, MemberLoad, Rotation, choose};
/// let members = [7, 8, 9].map(|id| MemberLoad { id: MemberId(id), load: 0 });
/// let mut rotation = Rotation::default();
/// let mut next = |key| choose(GroupRule::RoundRobin, &mut rotation, key, &members);
/// assert_eq!([next(None), next(None), next(None), next(None)], [Some(0), Some(1), Some(2), Some(0)]);
/// assert_eq!(next(Some("order-1")), next(Some("order-1")));
/// ```
pub fn choose(
    rule: GroupRule,
    rotation: &mut Rotation,
    key: Option<&str>,
    members: &[MemberLoad],
) -> Option<usize> {
    if let Some(key) = key {
        return KeyHash::of(key).holder(members.iter().map(|member| member.id));
    }
    let last = rotation.last;
    let turn = |member: &MemberLoad| {
        let load = match rule {
            GroupRule::RoundRobin => 0,
            GroupRule::LeastLoaded => member.load,
        };
        // Those after the last one come first, then the others from the smallest id.
        (load, Some(member.id) <= last, member.id)
    };
    let (index, member) = members.iter().enumerate().min_by_key(|(_, member)| turn(member))?;
    rotation.last = Some(member.id);
    Some(index)
}

fn score(key: u64, member: MemberId) -> u64 {
    split_mix(key ^ split_mix(member.0))
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo; RFC 9923).
fn fnv_1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// `SplitMix64` (Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, 2014): the increment, then the
/// finalizer.
fn split_mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn members(loads: &[(u64, usize)]) -> Vec<MemberLoad> {
        loads.iter().map(|&(id, load)| MemberLoad { id: MemberId(id), load }).collect()
    }

    fn chosen(rule: GroupRule, rotation: &mut Rotation, key: Option<&str>, members: &[MemberLoad]) -> u64 {
        members[choose(rule, rotation, key, members).unwrap()].id.0
    }

    fn holder(key: &str, ids: &BTreeSet<u64>) -> u64 {
        let members = members(&ids.iter().map(|id| (*id, 0)).collect::<Vec<_>>());
        chosen(GroupRule::RoundRobin, &mut Rotation::default(), Some(key), &members)
    }

    #[test]
    fn nobody_can_be_chosen_from_nobody() {
        for rule in [GroupRule::RoundRobin, GroupRule::LeastLoaded] {
            assert_eq!(choose(rule, &mut Rotation::default(), None, &[]), None);
            assert_eq!(choose(rule, &mut Rotation::default(), Some("k"), &[]), None);
        }
    }

    #[test]
    fn the_hash_is_the_published_one_and_placement_never_changes() {
        // Vectors of the FNV reference code and of the SplitMix64 reference stream for seed 0.
        assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(split_mix(0), 0xe220_a839_7b1d_cdaf);
        // Fixed for all time: other processes, and later versions, place keys the same way.
        let ids = (1..=5).collect();
        let placed: Vec<u64> = (0..12).map(|n| holder(&format!("order-{n}"), &ids)).collect();
        assert_eq!(placed, PLACED);
    }

    /// Computed by a program of its own, from the words at the top of this file.
    const PLACED: [u64; 12] = [4, 2, 1, 1, 3, 2, 2, 2, 4, 5, 5, 1];

    #[test]
    fn round_robin_passes_nobody_over_when_members_come_and_go() {
        let mut rotation = Rotation::default();
        let mut next =
            |ids: &[(u64, usize)]| chosen(GroupRule::RoundRobin, &mut rotation, None, &members(ids));
        assert_eq!([next(&[(1, 0), (3, 0), (5, 0)]), next(&[(5, 9), (1, 9), (3, 0)])], [1, 3]);
        assert_eq!(
            next(&[(1, 0), (3, 0), (4, 0), (5, 0)]),
            4,
            "a new member has its turn in the order of ids"
        );
        assert_eq!(next(&[(1, 0), (3, 0), (5, 0)]), 5, "the turn goes on when the last one is gone");
        assert_eq!(next(&[(1, 0), (3, 0), (5, 0)]), 1);
    }

    #[test]
    fn the_least_loaded_goes_first_and_equals_take_turns() {
        let mut rotation = Rotation::default();
        let mut next =
            |loads: &[(u64, usize)]| chosen(GroupRule::LeastLoaded, &mut rotation, None, &members(loads));
        assert_eq!(next(&[(1, 3), (2, 1), (3, 2)]), 2);
        let idle: Vec<u64> = (0..4).map(|_| next(&[(1, 0), (2, 0), (3, 0)])).collect();
        assert_eq!(idle, [3, 1, 2, 3]);
    }

    #[test]
    fn a_keyed_event_does_not_take_a_turn() {
        let mut rotation = Rotation::default();
        let all = members(&[(1, 0), (2, 0)]);
        let turns: Vec<u64> = (0..4)
            .map(|_| {
                chosen(GroupRule::RoundRobin, &mut rotation, Some("k"), &all);
                chosen(GroupRule::RoundRobin, &mut rotation, None, &all)
            })
            .collect();
        assert_eq!(turns, [1, 2, 1, 2]);
    }

    #[test]
    fn keys_spread_evenly() {
        let ids: BTreeSet<u64> = (0..8).collect();
        let mut counts = [0_u32; 8];
        for n in 0..8_000 {
            counts[usize::try_from(holder(&format!("key-{n}"), &ids)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn a_key_moves_only_to_who_joins_and_only_from_who_leaves(
            ids in prop::collection::btree_set(any::<u64>(), 1..12), joining: u64, keys in prop::collection::vec(".{0,12}", 1..50)
        ) {
            let mut more = ids.clone();
            more.insert(joining);
            for key in keys {
                let (before, after) = (holder(&key, &ids), holder(&key, &more));
                prop_assert!(before == after || after == joining, "{key:?} moved from {before} to {after}");
            }
        }

        #[test]
        fn the_order_of_members_and_their_loads_do_not_move_a_key(
            mut loads in prop::collection::btree_map(any::<u64>(), 0..9_usize, 1..9).prop_map(|all| all.into_iter().collect::<Vec<_>>()),
            key in ".{0,12}",
        ) {
            let rule = GroupRule::LeastLoaded;
            let before = chosen(rule, &mut Rotation::default(), Some(&key), &members(&loads));
            loads.reverse();
            for (_, load) in &mut loads {
                *load = 9 - *load;
            }
            prop_assert_eq!(chosen(rule, &mut Rotation::default(), Some(&key), &members(&loads)), before);
        }
    }
}
