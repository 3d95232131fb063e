//! What cannot be read, or is not there any more.

use super::*;

#[test]
fn what_cannot_be_read_is_given_up_or_passed_when_somebody_was_told() {
    let mut world = World::new(1);
    world.window.unreadable(0, "damaged".to_owned(), "reserve".to_owned(), world.at);
    let gone = world.window.gap(0, 7);
    world.save();
    assert_eq!((gone, &world.store.cursor), (6, &Cursor::at(1)), "nobody was told of those that are gone");
    world.window.told(0, &[(1, 7)], &[]);
    world.save();
    assert_eq!((world.store.cursor.clone(), world.dead.len()), (Cursor::at(7), 1));
    world.fetch(|_| Some(3), 9);
    assert_eq!(world.starts(), Some(7));
    world.ends(7, failed(SECOND));
    world.wait(SECOND);
    let taken = world.window.take_due(world.at.now);
    world.window.not_loaded(taken[0].place, world.at.now + SECOND);
    assert_eq!(world.window.next_due(), Some(world.at.now + SECOND));
    world.wait(SECOND);
    let taken = world.window.take_due(world.at.now);
    world.window.lost(taken[0].place, Verdict::Gone, world.at);
    world.save();
    assert_eq!(world.store.parked.len(), 1);
    world.window.told(0, &[], &[7]);
    world.save();
    assert_eq!((world.store.cursor.clone(), world.store.parked.len()), (Cursor::at(8), 0));
}
