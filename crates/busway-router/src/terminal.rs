//! Where a path through the tables ends: a filter and its routes, and whatever else collided with it.
//!
//! Tables are keyed by hashes of texts. Two filters whose texts hash alike end at the same place, where they form a
//! chain, and each is compared with the topic before its routes count. With 64 bits a chain longer than one is next to
//! impossible, and only costs time.

use std::sync::Arc;

use busway_event::{Filter, Topic};

use crate::bucket::Bucket;
use crate::found::Found;
use crate::route::{Route, RouteId};

pub(crate) struct Terminal<T> {
    filter: Filter,
    bucket: Bucket<T>,
    next: Option<Arc<Terminal<T>>>,
}

impl<T> Terminal<T> {
    /// A copy of the chain at `place` with one route more for `filter`. The id of the route is the highest so far.
    pub(crate) fn with(place: Option<&Arc<Self>>, filter: &Filter, route: Route<T>) -> Arc<Self> {
        let Some(here) = place else {
            return Arc::new(Self { filter: filter.clone(), bucket: Bucket::One(route), next: None });
        };
        let filter_here = here.filter.clone();
        Arc::new(if here.filter == *filter {
            Self { filter: filter_here, bucket: here.bucket.with(route), next: here.next.clone() }
        } else {
            let next = Some(Self::with(here.next.as_ref(), filter, route));
            Self { filter: filter_here, bucket: here.bucket.clone(), next }
        })
    }

    /// A copy of the chain at `place` without the route `id` of `filter`; `None` if nothing is left.
    pub(crate) fn without(place: Option<&Arc<Self>>, filter: &Filter, id: RouteId) -> Option<Arc<Self>> {
        let here = place?;
        let (bucket, next) = if here.filter == *filter {
            match here.bucket.without(id) {
                Some(bucket) => (bucket, here.next.clone()),
                None => return here.next.clone(),
            }
        } else {
            (here.bucket.clone(), Self::without(here.next.as_ref(), filter, id))
        };
        Some(Arc::new(Self { filter: here.filter.clone(), bucket, next }))
    }

    /// Adds the routes of the filter in this chain that is `topic`, if there is one.
    pub(crate) fn find_exact<'a>(&'a self, topic: &Topic, found: &mut Found<'a, T>) {
        self.find_if(|filter| filter.as_str() == topic.as_str(), found);
    }

    /// Adds the routes of the filters in this chain that really match.
    pub(crate) fn find<'a>(&'a self, topic: &Topic, found: &mut Found<'a, T>) {
        self.find_if(|filter| filter.matches(topic), found);
    }

    fn find_if<'a>(&'a self, matches: impl Fn(&Filter) -> bool, found: &mut Found<'a, T>) {
        let mut place = Some(self);
        while let Some(here) = place {
            if matches(&here.filter) {
                found.push(&here.bucket);
            }
            place = here.next.as_deref();
        }
    }
}
