//! The routes of one filter, in the order of their ids, as a persistent list.
//!
//! Most filters have one route, which is held in place. More of them stand in chunks of at most [`CHUNK`] behind a spine
//! of pointers, so that the edit of a filter with n routes copies one chunk and n / [`CHUNK`] pointers: a few hundred
//! reference counts at 100,000 routes of the very same filter.

use std::slice;
use std::sync::Arc;

use crate::route::{Route, RouteId};

/// At least one route.
pub(crate) enum Bucket<T> {
    One(Route<T>),
    Many(Arc<[Chunk<T>]>),
}

/// At least one route, at most [`CHUNK`].
type Chunk<T> = Arc<[Route<T>]>;

impl<T> Clone for Bucket<T> {
    fn clone(&self) -> Self {
        match self {
            Self::One(route) => Self::One(route.clone()),
            Self::Many(chunks) => Self::Many(Arc::clone(chunks)),
        }
    }
}

impl<T> Bucket<T> {
    /// A copy with one route more. Its id is above all that are here.
    pub(crate) fn with(&self, route: Route<T>) -> Self {
        match self {
            Self::One(first) => Self::Many([[first.clone(), route].into()].into()),
            Self::Many(chunks) => match chunks.split_last() {
                Some((last, others)) if last.len() < CHUNK => {
                    let longer = last.iter().cloned().chain([route]).collect();
                    Self::Many(others.iter().cloned().chain([longer]).collect())
                }
                _ => Self::Many(chunks.iter().cloned().chain([[route].into()]).collect()),
            },
        }
    }

    /// A copy without the route `id`; `None` if nothing is left.
    pub(crate) fn without(&self, id: RouteId) -> Option<Self> {
        let chunks = match self {
            Self::One(route) => return (route.id != id).then(|| self.clone()),
            Self::Many(chunks) => chunks,
        };
        let at = chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last.id < id));
        let mut spine: Vec<Chunk<T>> = Vec::with_capacity(chunks.len());
        for (index, chunk) in chunks.iter().enumerate() {
            let chunk = if index == at {
                chunk.iter().filter(|route| route.id != id).cloned().collect()
            } else {
                Arc::clone(chunk)
            };
            // Half a chunk, not a whole one: the next insertion must not split again what was just joined.
            let joined = index.abs_diff(at) <= 1
                && chunk.len() + spine.last().map_or(CHUNK, |last| last.len()) <= CHUNK / 2;
            match spine.last_mut() {
                Some(last) if joined => *last = last.iter().chain(chunk.iter()).cloned().collect(),
                _ if chunk.is_empty() => {}
                _ => spine.push(chunk),
            }
        }
        match spine.as_slice() {
            [] => None,
            [only] if only.len() == 1 => only.first().cloned().map(Self::One),
            _ => Some(Self::Many(spine.into())),
        }
    }

    /// The routes, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route<T>> {
        (0..).map_while(|index| self.chunk(index)).flatten()
    }

    /// The chunk with this number; `None` behind the last.
    #[inline]
    pub(crate) fn chunk(&self, index: usize) -> Option<&[Route<T>]> {
        match self {
            Self::One(route) => (index == 0).then_some(slice::from_ref(route)),
            Self::Many(chunks) => chunks.get(index).map(|chunk| &**chunk),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(chunks) => chunks.iter().map(|chunk| chunk.len()).sum(),
        }
    }
}

/// About the square root of 100,000, which makes chunk and spine equally long there.
const CHUNK: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(bucket: &Bucket<()>) -> Vec<RouteId> {
        assert_eq!(bucket.iter().count(), bucket.len());
        bucket.iter().map(|route| route.id).collect()
    }

    fn route() -> Route<()> {
        Route { id: RouteId::next(), target: Arc::new(()) }
    }

    fn filled(len: usize) -> Bucket<()> {
        (1..len).fold(Bucket::One(route()), |bucket, _| bucket.with(route()))
    }

    #[test]
    fn a_bucket_that_shrinks_gives_its_chunks_back() {
        let mut bucket = filled(40 * CHUNK);
        let all = ids(&bucket);
        // Every chunk shrinks evenly, none of them ever runs empty by itself.
        let (mut gone, mut left): (Vec<_>, Vec<_>) =
            all.iter().enumerate().partition(|(index, _)| index % 64 != 0);
        for (_, id) in gone.drain(..) {
            bucket = bucket.without(*id).unwrap();
        }
        assert_eq!(ids(&bucket), left.drain(..).map(|(_, id)| *id).collect::<Vec<_>>());
        let Bucket::Many(chunks) = &bucket else { panic!("160 routes are more than one") };
        assert!(chunks.len() <= 3, "{} chunks for 160 routes", chunks.len());
    }

    #[test]
    fn the_last_route_leaves_nothing() {
        let bucket = filled(2);
        let all = ids(&bucket);
        let one = bucket.without(all[0]).unwrap();
        assert!(matches!(one, Bucket::One(_)));
        assert_eq!(ids(&one.without(RouteId::next()).unwrap()), [all[1]]);
        assert!(one.without(all[1]).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn routes_stay_in_the_order_of_their_ids(
            start in 1..1_500_usize, edits in prop::collection::vec(prop::option::of(any::<prop::sample::Index>()), 0..400)
        ) {
            let mut bucket = filled(start);
            let mut model = ids(&bucket);
            for edit in edits {
                match edit {
                    Some(index) if model.len() > 1 => {
                        let id = model.remove(index.index(model.len()));
                        bucket = bucket.without(id).unwrap();
                    }
                    _ => {
                        let route = route();
                        model.push(route.id);
                        bucket = bucket.with(route);
                    }
                }
            }
            prop_assert_eq!(ids(&bucket), model);
            if let Bucket::Many(chunks) = &bucket {
                prop_assert!(chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
            }
        }
    }
}
