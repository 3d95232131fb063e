//! The targets of one topic, borrowed for as long as a closure runs.

use std::fmt;
use std::slice;
use std::sync::Arc;

use crate::found::{Found, Merged};
use crate::targets::Targets;

/// The targets that a topic reaches, in the order in which they subscribed: what [`Targets`] holds, but borrowed.
///
/// Given to the closures of [`Router::lookup_with`](crate::Router::lookup_with) and
/// [`Router::walk_with`](crate::Router::walk_with). No target's references are counted for it. Copy it and iterate as often
/// as you like; clone the `Arc`s of what must outlive the closure.
pub struct Reached<'a, T>(Source<'a, T>);

enum Source<'a, T> {
    Listed(&'a [Arc<T>]),
    Found(&'a Found<'a, T>),
}

impl<'a, T> Reached<'a, T> {
    pub(crate) fn found(found: &'a Found<'a, T>) -> Self {
        Self(Source::Found(found))
    }

    /// How many there are. Constant for a remembered match, else as long as it takes to add up a number a filter.
    pub fn len(&self) -> usize {
        match self.0 {
            Source::Listed(list) => list.len(),
            Source::Found(found) => found.len(),
        }
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        match self.0 {
            Source::Listed(list) => list.is_empty(),
            Source::Found(found) => found.is_empty(),
        }
    }

    /// The targets, one after the other. Allocates nothing.
    #[inline]
    pub fn iter(&self) -> ReachedIter<'a, T> {
        ReachedIter(match self.0 {
            Source::Listed(list) => Items::Listed(list.iter()),
            Source::Found(found) => Items::Found(found.iter()),
        })
    }

    /// A list of its own, which may be kept. Counts one reference a target.
    pub fn to_targets(&self) -> Targets<T> {
        self.iter().cloned().collect()
    }
}

impl<T> Clone for Reached<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Reached<'_, T> {}

impl<T> Clone for Source<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Source<'_, T> {}

/// Nobody.
impl<T> Default for Reached<'_, T> {
    fn default() -> Self {
        Self(Source::Listed(&[]))
    }
}

impl<'a, T> From<&'a Targets<T>> for Reached<'a, T> {
    #[inline]
    fn from(targets: &'a Targets<T>) -> Self {
        Self(Source::Listed(targets))
    }
}

impl<'a, T> From<&'a [Arc<T>]> for Reached<'a, T> {
    #[inline]
    fn from(targets: &'a [Arc<T>]) -> Self {
        Self(Source::Listed(targets))
    }
}

impl<'a, T> IntoIterator for Reached<'a, T> {
    type Item = &'a Arc<T>;
    type IntoIter = ReachedIter<'a, T>;

    fn into_iter(self) -> ReachedIter<'a, T> {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &Reached<'a, T> {
    type Item = &'a Arc<T>;
    type IntoIter = ReachedIter<'a, T>;

    fn into_iter(self) -> ReachedIter<'a, T> {
        self.iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for Reached<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The targets of [`Reached::iter`].
pub struct ReachedIter<'a, T>(Items<'a, T>);

enum Items<'a, T> {
    Listed(slice::Iter<'a, Arc<T>>),
    Found(Merged<'a, T>),
}

impl<'a, T> Iterator for ReachedIter<'a, T> {
    type Item = &'a Arc<T>;

    #[inline]
    fn next(&mut self) -> Option<&'a Arc<T>> {
        match &mut self.0 {
            Items::Listed(list) => list.next(),
            Items::Found(routes) => routes.next().map(|route| &route.target),
        }
    }
}

impl<T> fmt::Debug for ReachedIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReachedIter").finish_non_exhaustive()
    }
}
