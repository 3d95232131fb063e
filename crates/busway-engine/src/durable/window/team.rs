//! The members of a window's subscription: which of them an event is for that may start.
//!
//! An event with a home, which is the hash of its key, is for the member that the key sticks to, as long as that one is there. All
//! others are for whoever is free. When a member comes or goes, what may start finds its home anew; what runs stays where it is,
//! and its lane stays closed: so no order is lost on the way.

use std::collections::BTreeMap;

use busway_event::Priority;
use busway_persistence::Position;
use busway_router::{KeyHash, MemberId};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Team {
    members: Vec<Member>,
    /// For whoever is free: without a home, of the only member, or while nobody is there.
    shared: Queues,
}

#[derive(Debug)]
struct Member {
    id: MemberId,
    own: Queues,
}

/// By priority and in the order in which they came into hand.
type Queues = [BTreeMap<u64, Waiting>; 4];

#[derive(Debug, Clone, Copy)]
struct Waiting {
    place: Position,
    home: Option<KeyHash>,
}

impl Team {
    /// A member comes, or comes back.
    pub(super) fn join(&mut self, id: u64) {
        self.rearrange(|members| members.push(Member { id: MemberId(id), own: Queues::default() }));
    }

    /// A member goes: what was its own goes to the others.
    pub(super) fn part(&mut self, id: u64) {
        self.rearrange(|members| members.retain(|member| member.id != MemberId(id)));
    }

    fn rearrange(&mut self, change: impl FnOnce(&mut Vec<Member>)) {
        let owned = self.members.iter_mut().map(|member| std::mem::take(&mut member.own));
        let all: Vec<Queues> = owned.chain([std::mem::take(&mut self.shared)]).collect();
        change(&mut self.members);
        for queues in all {
            for (priority, queue) in Priority::ALL.into_iter().zip(queues) {
                queue.into_iter().for_each(|(arrival, waiting)| self.put(priority, arrival, waiting));
            }
        }
    }

    /// An event may start.
    pub(super) fn add(&mut self, priority: Priority, arrival: u64, place: Position, home: Option<KeyHash>) {
        self.put(priority, arrival, Waiting { place, home });
    }

    fn put(&mut self, priority: Priority, arrival: u64, waiting: Waiting) {
        let holder = match (waiting.home, self.members.len()) {
            (Some(home), 2..) => home.holder(self.members.iter().map(|member| member.id)),
            _ => None,
        };
        let queues = match holder.and_then(|at| self.members.get_mut(at)) {
            Some(member) => &mut member.own,
            None => &mut self.shared,
        };
        if let Some(queue) = queues.get_mut(priority.index()) {
            queue.insert(arrival, waiting);
        }
    }

    /// The next event for the member: of its own and of those for whoever is free, the one that came first.
    pub(super) fn take(&mut self, member: u64, priority: Priority) -> Option<Position> {
        let own = &mut self.members.iter_mut().find(|seat| seat.id == MemberId(member))?.own;
        let (own, shared) = (own.get_mut(priority.index())?, self.shared.get_mut(priority.index())?);
        let queue = if is_before(own, shared) { own } else { shared };
        queue.pop_first().map(|(_, waiting)| waiting.place)
    }

    /// The event that came first of all whose priority may start; `None` when it is another member's own.
    pub(super) fn take_first(
        &mut self,
        member: u64,
        may_start: impl Fn(Priority) -> bool,
    ) -> Option<(Priority, Position)> {
        let first = |queues: &Queues| {
            let firsts = Priority::ALL.into_iter().filter(|priority| may_start(*priority));
            let firsts = firsts.filter_map(|priority| {
                let (arrival, _) = queues.get(priority.index())?.first_key_value()?;
                Some((*arrival, priority))
            });
            firsts.min_by_key(|(arrival, _)| *arrival)
        };
        let is_own = |seat: &&Member| seat.id == MemberId(member);
        let own = self.members.iter().find(is_own).and_then(|seat| first(&seat.own));
        let (arrival, priority) =
            own.into_iter().chain(first(&self.shared)).min_by_key(|(arrival, _)| *arrival)?;
        let mut others = self.members.iter().filter(|seat| !is_own(seat)).filter_map(|seat| first(&seat.own));
        match others.any(|(earlier, _)| earlier < arrival) {
            true => None,
            false => self.take(member, priority).map(|place| (priority, place)),
        }
    }

    /// The one that [`take`](Self::take) would take.
    pub(super) fn next(&self, member: u64, priority: Priority) -> Option<Position> {
        let own = &self.members.iter().find(|seat| seat.id == MemberId(member))?.own;
        let (own, shared) = (own.get(priority.index())?, self.shared.get(priority.index())?);
        let queue = if is_before(own, shared) { own } else { shared };
        queue.first_key_value().map(|(_, waiting)| waiting.place)
    }

    /// Whether the member has one of its own.
    pub(super) fn has_own(&self, member: u64, priority: Priority) -> bool {
        let member = self.members.iter().find(|seat| seat.id == MemberId(member));
        member.is_some_and(|member| has_any(&member.own, priority))
    }

    /// Whether there is one for whoever is free.
    pub(super) fn has_shared(&self, priority: Priority) -> bool {
        has_any(&self.shared, priority)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        let all = self.members.iter().map(|member| &member.own).chain([&self.shared]);
        all.flatten().map(BTreeMap::len).sum()
    }

    /// Whether there is one at all.
    pub(super) fn has_any(&self, priority: Priority) -> bool {
        self.has_shared(priority) || self.members.iter().any(|member| has_any(&member.own, priority))
    }
}

/// Whether the first of `one` came before the first of the other.
fn is_before(one: &BTreeMap<u64, Waiting>, other: &BTreeMap<u64, Waiting>) -> bool {
    let first = |queue: &BTreeMap<u64, Waiting>| queue.first_key_value().map(|(arrival, _)| *arrival);
    first(one).is_some_and(|arrival| first(other).is_none_or(|other| arrival < other))
}

fn has_any(queues: &Queues, priority: Priority) -> bool {
    queues.get(priority.index()).is_some_and(|queue| !queue.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> Position {
        Position { partition: 0, offset }
    }

    #[test]
    fn the_first_of_all_is_taken_by_whose_it_is_and_by_nobody_else() {
        let mut team = with_keys([1, 2]);
        team.add(Priority::P0, 40, place(40), None);
        let mut order = Vec::new();
        while order.len() < 41 {
            // One of them has it, and never both.
            let taken = [1, 2].map(|member| team.take_first(member, |_| true).map(|(_, place)| place.offset));
            order.extend(taken.into_iter().flatten());
            assert!(taken.iter().any(Option::is_some));
        }
        assert_eq!(
            order,
            (0..41).collect::<Vec<_>>(),
            "in the order in which they came, the urgent one last"
        );
        assert_eq!(team.take_first(1, |_| true), None);
        let mut team = with_keys([1]);
        team.add(Priority::P0, 40, place(40), None);
        assert_eq!(team.take_first(1, |priority| priority == Priority::P0), Some((Priority::P0, place(40))));
    }

    /// Events 0 to 39 of twenty keys.
    fn with_keys(members: impl IntoIterator<Item = u64>) -> Team {
        let mut team = Team::default();
        members.into_iter().for_each(|id| team.join(id));
        for n in 0..40 {
            let key = format!("key-{}", n % 20);
            team.add(Priority::P2, n, place(n), Some(KeyHash::of(&key)));
        }
        team
    }

    fn all_of(team: &mut Team, member: u64) -> Vec<u64> {
        std::iter::from_fn(|| team.take(member, Priority::P2)).map(|place| place.offset).collect()
    }

    #[test]
    fn a_key_has_one_member_and_finds_another_when_that_one_goes_and_comes_back_with_it() {
        let [one, two] = {
            let mut team = with_keys([1, 2]);
            [1, 2].map(|member| all_of(&mut team, member))
        };
        assert_eq!(one.len() + two.len(), 40);
        assert!(!one.is_empty() && !two.is_empty() && one.is_sorted() && two.is_sorted());
        assert!(one.iter().all(|n| one.contains(&((n + 20) % 40))), "a key is at one member: {one:?}");

        let mut team = with_keys([1, 2]);
        team.part(2);
        assert_eq!(all_of(&mut team, 2), [0; 0]);
        assert_eq!(all_of(&mut team, 1), (0..40).collect::<Vec<_>>(), "in the order in which they came");

        let mut team = with_keys([1, 2]);
        team.part(2);
        team.join(2);
        assert_eq!([all_of(&mut team, 1), all_of(&mut team, 2)], [one, two]);
    }

    #[test]
    fn what_has_no_home_is_for_whoever_asks_and_waits_while_nobody_is_there() {
        let mut team = Team::default();
        team.add(Priority::P2, 1, place(1), None);
        team.add(Priority::P2, 2, place(2), Some(KeyHash::of("key")));
        assert!(team.has_any(Priority::P2) && team.take(1, Priority::P2).is_none());
        team.join(1);
        assert!(team.has_shared(Priority::P2) && !team.has_own(1, Priority::P2), "the only one has all");
        assert!(!team.has_any(Priority::P1));
        assert_eq!(all_of(&mut team, 1), [1, 2]);
        team.join(2);
        (3..7).for_each(|n| team.add(Priority::P2, n, place(n), None));
        let turns = [2, 1, 1, 2].map(|member| team.take(member, Priority::P2).unwrap().offset);
        assert_eq!(turns, [3, 4, 5, 6]);
    }

    #[test]
    fn of_its_own_and_of_those_for_everybody_the_first_comes_first() {
        let mut team = Team::default();
        [1, 2].into_iter().for_each(|id| team.join(id));
        let key = (0..1_000).map(|n| format!("key-{n}")).find(|key| {
            let members = [1, 2].map(MemberId);
            KeyHash::of(key).holder(members) == Some(0)
        });
        let home = Some(KeyHash::of(&key.unwrap()));
        for n in 0..6 {
            team.add(Priority::P2, n, place(n), home.filter(|_| n % 2 == 1));
        }
        assert!(team.has_own(1, Priority::P2) && !team.has_own(2, Priority::P2));
        assert_eq!(team.take(1, Priority::P2), Some(place(0)));
        assert_eq!(all_of(&mut team, 2), [2, 4]);
        assert_eq!(all_of(&mut team, 1), [1, 3, 5]);
    }
}
