//! Buffers of records that were stored, kept by the thread that will write the next ones.
//!
//! Thousands of records of one size that are taken and given back in one go are the worst that a general allocator can be asked
//! for: each is joined to its neighbours and cut off them again. Entries come back to their publisher's thread, so that is
//! where their buffers wait.
//!
//! # Bounds
//! A thread keeps [`KEPT_MAX`] buffers of [`BYTES_MAX`] bytes at most; larger ones are freed.

use std::cell::RefCell;

/// An empty buffer with room for so many bytes: one that was used before, if it is large enough.
pub(super) fn take(bytes: usize) -> Vec<u8> {
    let kept = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.pop());
    match kept.ok().flatten() {
        Some(buffer) if buffer.capacity() >= bytes => buffer,
        _ => Vec::with_capacity(bytes),
    }
}

/// Gives a buffer back.
pub(super) fn put(mut buffer: Vec<u8>) {
    if !(1..=BYTES_MAX).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    // A thread that ends keeps nothing.
    _ = SPARE.try_with(|spare| {
        if let Ok(mut spare) = spare.try_borrow_mut()
            && spare.len() < KEPT_MAX
        {
            spare.push(buffer);
        }
    });
}

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// As many as a commit stores.
const KEPT_MAX: usize = 4_096;
/// So a thread keeps 4 MiB at most.
const BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_it_is_large_enough_and_not_too_large() {
        let first = take(300);
        let place = first.as_ptr();
        put(first);
        let again = take(200);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        put(again);
        let larger = take(900);
        assert!(larger.capacity() >= 900);
        put(Vec::with_capacity(BYTES_MAX + 1));
        put(Vec::new());
        assert!(take(BYTES_MAX + 2).capacity() >= BYTES_MAX + 2);
    }
}
