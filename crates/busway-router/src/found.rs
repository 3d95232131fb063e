//! What a walk found: the buckets of the filters that match, borrowed from one state of the table, and the order in which
//! their routes are given.
//!
//! Nothing is copied and no reference is counted. Each bucket is sorted by id; up to [`BUCKETS_FEW`] of them are merged
//! while they are iterated, in whole stretches where one bucket has the lowest ids for a while. Beyond that a merge would
//! compare too much, and the routes are sorted once.

use std::slice;

use crate::bucket::Bucket;
use crate::route::{Route, RouteId};

/// The buckets that match one topic, in no order.
pub(crate) struct Found<'a, T> {
    few: [Option<&'a Bucket<T>>; BUCKETS_FEW],
    count: usize,
    /// All of them, if they are more than fit above.
    many: Vec<&'a Bucket<T>>,
    /// Their routes in order, once [`Found::complete`] was called.
    sorted: Vec<&'a Route<T>>,
}

impl<'a, T> Found<'a, T> {
    #[inline]
    pub(crate) fn nothing() -> Self {
        Self { few: [None; BUCKETS_FEW], count: 0, many: Vec::new(), sorted: Vec::new() }
    }

    #[inline]
    pub(crate) fn push(&mut self, bucket: &'a Bucket<T>) {
        match self.few.get_mut(self.count) {
            Some(place) => *place = Some(bucket),
            None => self.push_one_more(bucket),
        }
        self.count += 1;
    }

    #[cold]
    fn push_one_more(&mut self, bucket: &'a Bucket<T>) {
        if self.many.is_empty() {
            self.many.extend(self.few.iter().flatten());
        }
        self.many.push(bucket);
    }

    /// To be called after the last bucket.
    #[inline]
    pub(crate) fn complete(&mut self) {
        if self.count > BUCKETS_FEW {
            self.sort();
        }
    }

    #[cold]
    fn sort(&mut self) {
        self.many.iter().for_each(|bucket| self.sorted.extend(bucket.iter()));
        // Each bucket's routes are sorted already, and the sort finds such runs.
        self.sorted.sort_by_key(|route| route.id);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn len(&self) -> usize {
        if self.count > BUCKETS_FEW {
            return self.sorted.len();
        }
        self.few.iter().flatten().map(|bucket| bucket.len()).sum()
    }

    /// The routes in the order of their ids.
    #[inline]
    pub(crate) fn iter(&self) -> Merged<'_, T> {
        if self.count > BUCKETS_FEW {
            return Merged::Sorted(self.sorted.iter());
        }
        Merged::Few(Merge { stretch: [].iter(), few: &self.few, read: [Read::default(); BUCKETS_FEW] })
    }
}

/// Routes of several buckets in the order of their ids.
pub(crate) enum Merged<'a, T> {
    Few(Merge<'a, T>),
    Sorted(slice::Iter<'a, &'a Route<T>>),
}

impl<'a, T> Iterator for Merged<'a, T> {
    type Item = &'a Route<T>;

    #[inline]
    fn next(&mut self) -> Option<&'a Route<T>> {
        match self {
            Self::Few(merge) => merge.next(),
            Self::Sorted(routes) => routes.next().copied(),
        }
    }
}

/// A merge of a few buckets. Takes a stretch of one after the other.
pub(crate) struct Merge<'a, T> {
    /// Comes before all that was not read yet.
    stretch: slice::Iter<'a, Route<T>>,
    few: &'a [Option<&'a Bucket<T>>; BUCKETS_FEW],
    read: [Read; BUCKETS_FEW],
}

/// How much of a bucket was read.
#[derive(Debug, Clone, Copy, Default)]
struct Read {
    /// Whole chunks.
    chunks: u32,
    /// Routes of the chunk after them.
    routes: u32,
}

impl Read {
    /// The rest of the chunk that is being read; `None` at the end.
    #[inline]
    fn rest<T>(self, bucket: &Bucket<T>) -> Option<&[Route<T>]> {
        bucket.chunk(self.chunks as usize)?.get(self.routes as usize..)
    }
}

impl<'a, T> Merge<'a, T> {
    /// The routes of the bucket whose turn it is, up to the first of another one.
    fn next_stretch(&mut self) -> Option<slice::Iter<'a, Route<T>>> {
        let mut lowest: Option<(RouteId, &'a [Route<T>], &mut Read)> = None;
        let mut bound = None;
        for (bucket, read) in self.few.iter().flatten().zip(&mut self.read) {
            let Some(rest) = read.rest(bucket) else { continue };
            let Some(Route { id, .. }) = rest.first() else { continue };
            match &lowest {
                Some((first, ..)) if first < id => {
                    bound = Some(bound.map_or(*id, |bound: RouteId| bound.min(*id)));
                }
                // The bound lies above what was the lowest until now.
                _ => bound = lowest.replace((*id, rest, read)).map(|(id, ..)| id).or(bound),
            }
        }
        let (_, rest, read) = lowest?;
        let end = match (bound, rest.last()) {
            (Some(bound), Some(last)) if last.id > bound => rest.partition_point(|route| route.id < bound),
            _ => rest.len(),
        };
        let (stretch, left) = rest.split_at_checked(end)?;
        *read = match left {
            [] => Read { chunks: read.chunks + 1, routes: 0 },
            #[expect(clippy::cast_possible_truncation, reason = "a chunk has few routes")]
            _ => Read { chunks: read.chunks, routes: read.routes + end as u32 },
        };
        Some(stretch.iter())
    }
}

impl<'a, T> Iterator for Merge<'a, T> {
    type Item = &'a Route<T>;

    #[inline]
    fn next(&mut self) -> Option<&'a Route<T>> {
        if let Some(route) = self.stretch.next() {
            return Some(route);
        }
        // No stretch is empty.
        self.stretch = self.next_stretch()?;
        self.stretch.next()
    }
}

/// More filters seldom match one topic, and to compare eight ids is cheaper than to sort.
const BUCKETS_FEW: usize = 8;
