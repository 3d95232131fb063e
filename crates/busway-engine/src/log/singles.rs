//! Lists of one entry, used again and again.
//!
//! Each publish hands the store's writer a list of one, and gets it back with the answer. Thousands of them are taken and given back in one go, which
//! a general allocator answers by joining and cutting them, and by asking the system for pages that it has just returned. So a thread keeps those of its
//! last publishes: lists come back to the thread that publishes next, with what they held taken out.
//!
//! # Bounds
//! A thread keeps [`KEPT_MAX`] lists with room for one entry each; all others are freed.

use std::cell::RefCell;

use busway_persistence::Entry;

/// A list of this entry.
pub(crate) fn of(entry: Entry) -> Vec<Entry> {
    let kept = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.pop()).ok().flatten();
    let mut list = kept.unwrap_or_else(|| Vec::with_capacity(1));
    list.push(entry);
    list
}

/// Gives a list back, when nothing is left in it.
pub(crate) fn put(list: Vec<Entry>) {
    if list.capacity() != 1 || !list.is_empty() {
        return;
    }
    // A thread that ends keeps nothing.
    _ = SPARE.try_with(|spare| {
        if let Ok(mut spare) = spare.try_borrow_mut()
            && spare.len() < KEPT_MAX
        {
            spare.push(list);
        }
    });
}

thread_local! {
    static SPARE: RefCell<Vec<Vec<Entry>>> = const { RefCell::new(Vec::new()) };
}

/// As many as a commit stores: below a megabyte a thread.
const KEPT_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_room_for_one_is_kept_and_no_other() {
        let list = Vec::with_capacity(1);
        let place = list.as_ptr();
        put(list);
        put(Vec::new());
        put(Vec::with_capacity(2));
        SPARE.with_borrow_mut(|spare| {
            assert_eq!(spare.iter().map(Vec::as_ptr).collect::<Vec<_>>(), [place]);
            spare.resize_with(KEPT_MAX, || Vec::with_capacity(1));
        });
        put(Vec::with_capacity(1));
        assert_eq!(SPARE.with_borrow(Vec::len), KEPT_MAX);
    }
}
