//! Events that die again while their letters are there: their subscription was sent back before them.

use busway_persistence::{ATTEMPTS_KEPT, Store};

use crate::letters::{give_up, key, with_letters};
use crate::world::{Waiting, dir, one, open};

/// How many attempts are counted, and how many are kept.
fn attempts(store: &Store, number: u32, offset: u64) -> (u32, usize) {
    let letter = store.letter(key(number, offset)).unwrap().unwrap().letter;
    (letter.attempt_count, letter.attempts.len())
}

#[test]
fn the_attempts_of_before_are_in_front_as_many_as_are_kept() {
    let dir = dir();
    let store = open(dir.path(), one());
    let number = with_letters(&store, 2);
    let deaths = u32::try_from(ATTEMPTS_KEPT).unwrap() + 4;
    for death in 2..=deaths {
        store.go_to(number, 0).unwrap();
        give_up(&store, number, 0..1);
        let kept = usize::try_from(death).unwrap().min(ATTEMPTS_KEPT);
        assert_eq!(attempts(&store, number, 0), (death, kept));
        assert_eq!(store.dead_letter_count(number), 2);
    }
    assert_eq!(attempts(&store, number, 1), (1, 1));
    // Given up already: it is not given up twice.
    give_up(&store, number, 0..1);
    assert_eq!(attempts(&store, number, 0).0, deaths);
}
