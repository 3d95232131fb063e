//! The result of a match.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The targets that a topic reaches, in the order in which they subscribed.
///
/// A shared, immutable list: a clone counts one reference, however many targets there are, and none if there are none.
/// It says what matched when it was looked up; it keeps its targets alive, also those that are removed meanwhile. A
/// target that was inserted under several matching filters is in it once for each.
pub struct Targets<T> {
    /// `None` if empty: topics that nobody listens to share no counter between threads.
    list: Option<Arc<[Arc<T>]>>,
}

impl<T> Targets<T> {
    /// No targets. Allocates nothing.
    pub const fn none() -> Self {
        Self { list: None }
    }
}

impl<T> Deref for Targets<T> {
    type Target = [Arc<T>];

    #[inline]
    fn deref(&self) -> &[Arc<T>] {
        self.list.as_deref().unwrap_or_default()
    }
}

impl<'a, T> IntoIterator for &'a Targets<T> {
    type Item = &'a Arc<T>;
    type IntoIter = std::slice::Iter<'a, Arc<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> FromIterator<Arc<T>> for Targets<T> {
    fn from_iter<I: IntoIterator<Item = Arc<T>>>(targets: I) -> Self {
        let list: Arc<[Arc<T>]> = targets.into_iter().collect();
        Self { list: (!list.is_empty()).then_some(list) }
    }
}

impl<T> Clone for Targets<T> {
    fn clone(&self) -> Self {
        Self { list: self.list.clone() }
    }
}

impl<T> Default for Targets<T> {
    fn default() -> Self {
        Self::none()
    }
}

impl<T: fmt::Debug> fmt::Debug for Targets<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}
