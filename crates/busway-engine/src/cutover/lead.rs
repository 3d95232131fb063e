//! From where on who leads: pure, and what of it is stored.

use std::collections::BTreeMap;

use busway_persistence::Table;
use serde::{Deserialize, Serialize};

/// Who handles an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Leader {
    Here,
    There,
}

/// Who handles the events of a stream, by partition. In the beginning all are handled here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Lead {
    /// By partition: from which offset on somebody else leads than before, the first time there.
    turns: BTreeMap<u16, Vec<u64>>,
}

impl Lead {
    /// Who handles the event at this offset.
    pub(super) fn leader(&self, partition: u16, offset: u64) -> Leader {
        let turns = self.turns.get(&partition).map_or(&[][..], Vec::as_slice);
        match turns.partition_point(|turn| *turn <= offset) % 2 {
            0 => Leader::Here,
            _ => Leader::There,
        }
    }

    /// Up to which offset of a partition what is led here has to be settled before an event that is led there may be forwarded.
    pub(super) fn led_here_before(&self, partition: u16, offset: u64) -> u64 {
        let turns = self.turns.get(&partition).map_or(&[][..], Vec::as_slice);
        match turns.partition_point(|turn| *turn <= offset).checked_sub(1) {
            Some(last) => turns.get(last).copied().unwrap_or(0),
            None => 0,
        }
    }

    /// Whether anything of it was ever led there.
    pub(super) fn was_ever_turned(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Whether what comes is led there.
    pub(super) fn is_led_there(&self) -> bool {
        self.turns.keys().any(|partition| self.leader(*partition, u64::MAX) == Leader::There)
    }

    /// The same from now on led by `leader`: from the ends of the partitions. `None` when it is already.
    pub(super) fn turned(&self, leader: Leader, ends: &[(u16, u64)]) -> Option<Self> {
        let mut turned = self.clone();
        for &(partition, end) in ends {
            if turned.leader(partition, u64::MAX) != leader {
                turned.turns.entry(partition).or_default().push(end);
            }
        }
        (turned != *self).then_some(turned)
    }
}

/// Of each stream that was ever cut over, by its name. The bus's own: it is declared with every store.
pub(crate) const LEADS: Table<String, Lead> = Table::new("busway.leads");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_led_here_until_it_is_turned_and_every_event_has_one_leader() {
        let lead = Lead::default();
        assert_eq!(lead.leader(0, 7), Leader::Here);
        assert_eq!(lead.turned(Leader::Here, &[(0, 5), (1, 9)]), None);
        let there = lead.turned(Leader::There, &[(0, 5), (1, 9)]).unwrap();
        let leaders =
            |lead: &Lead| [(0, 4), (0, 5), (1, 8), (1, 9)].map(|(p, offset)| lead.leader(p, offset));
        assert_eq!(leaders(&there), [Leader::Here, Leader::There, Leader::Here, Leader::There]);
        assert_eq!(there.turned(Leader::There, &[(0, 50), (1, 90)]), None);
        let back = there.turned(Leader::Here, &[(0, 50), (1, 90)]).unwrap();
        assert_eq!(leaders(&back), leaders(&there), "what was decided stays so");
        assert_eq!([back.leader(0, 49), back.leader(0, 50)], [Leader::There, Leader::Here]);
    }

    #[test]
    fn a_turn_in_an_empty_log_leaves_nothing_here() {
        let there = Lead::default().turned(Leader::There, &[(0, 0)]).unwrap();
        assert_eq!((there.leader(0, 0), there.led_here_before(0, 3)), (Leader::There, 0));
    }

    #[test]
    fn what_is_led_there_waits_for_what_is_led_here_before_it() {
        let there = Lead::default().turned(Leader::There, &[(0, 5)]).unwrap();
        assert_eq!([there.led_here_before(0, 4), there.led_here_before(0, 5)], [0, 5]);
        let again = there.turned(Leader::Here, &[(0, 8)]).unwrap().turned(Leader::There, &[(0, 20)]).unwrap();
        assert_eq!([again.led_here_before(0, 9), again.led_here_before(0, 30)], [8, 20]);
    }
}
