//! What is in force for a subscription, from all levels.

use std::collections::VecDeque;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use busway_event::{Filter, Priority};
use busway_reliability::{Order, Overflow, PriorityLimits, Retry, RetryBudget, RetryProblem, TimeToLive};
use parking_lot::Mutex;

use super::{Budget, Origin, Setting, Settings, Wait};
use crate::dead_letters::DeadLetterPolicy;

/// All settings in force of one subscription. Shared: most subscriptions of a bus have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effective {
    pub(crate) capacity: NonZeroUsize,
    pub(crate) capacity_bytes: usize,
    pub(crate) overflow: Overflow,
    pub(crate) order: Order,
    pub(crate) concurrency: NonZeroU32,
    pub(crate) limits: PriorityLimits,
    pub(crate) share: [NonZeroU32; 4],
    pub(crate) ttl: TimeToLive,
    pub(crate) traces: usize,
    pub(crate) parked_max: usize,
    pub(crate) retry: Retry,
    /// Whether somebody asked for it: what nobody asked for is no mistake.
    pub(crate) is_retry_said: bool,
    pub(crate) retry_budget: Option<RetryBudget>,
    pub(crate) dead_letters: DeadLetterPolicy,
    pub(crate) described: Vec<Setting>,
}

/// Settings of the bus and of filters.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    pub(crate) bus: Settings,
    pub(crate) filters: Vec<(Filter, Settings)>,
    /// What was resolved last, to be shared by those who resolve to the same.
    known: Mutex<VecDeque<Known>>,
}

/// What was resolved, and of what.
#[derive(Debug)]
struct Known {
    own: Settings,
    /// Which of the filter levels applied.
    covering: Vec<usize>,
    effective: Arc<Effective>,
}

impl Levels {
    /// As [`resolve`](Self::resolve), shared with others who came to the same lately.
    pub(crate) fn resolve_shared(&self, filter: &Filter, own: &Settings) -> Arc<Effective> {
        let covering: Vec<usize> = self.covering(filter).collect();
        let mut known = self.known.lock();
        if let Some(same) = known.iter().find(|known| known.own == *own && known.covering == covering) {
            return Arc::clone(&same.effective);
        }
        let effective = self.resolve(filter, own);
        let same = known.iter().find(|known| *known.effective == effective);
        let effective = same.map_or_else(|| Arc::new(effective), |same| Arc::clone(&same.effective));
        known.truncate(KNOWN_MAX - 1);
        known.push_front(Known { own: own.clone(), covering, effective: Arc::clone(&effective) });
        effective
    }

    /// The filter levels that apply to a filter, the last declared first.
    fn covering(&self, filter: &Filter) -> impl Iterator<Item = usize> {
        let levels = self.filters.iter().enumerate().rev();
        levels.filter(|(_, (pattern, _))| pattern.covers(filter)).map(|(at, _)| at)
    }

    /// The settings in force for a subscription to `filter` that sets `own` itself. Of several filter levels that cover the
    /// subscription's filter, the one declared last wins.
    pub(crate) fn resolve(&self, filter: &Filter, own: &Settings) -> Effective {
        let mut levels = vec![(Origin::Subscription, own)];
        let covering = self.covering(filter).filter_map(|at| self.filters.get(at));
        levels.extend(covering.map(|(pattern, settings)| (Origin::Filter(pattern.clone()), settings)));
        levels.push((Origin::Bus, &self.bus));
        let mut pick = Pick { levels, described: Vec::new() };
        let capacity = pick.value("capacity", CAPACITY_DEFAULT, |s| s.capacity);
        let capacity_bytes = pick.value("capacity_bytes", CAPACITY_BYTES_DEFAULT, |s| s.capacity_bytes);
        let overflow = pick.value("overflow", Overflow::default(), |s| s.overflow);
        let order = pick.value("order", Order::default(), |s| s.order);
        let concurrency = pick.value("concurrency", 1, |s| s.concurrency);
        let share = pick.value("share", SHARE_DEFAULT, |s| s.share);
        let traces = pick.value("traces", 0, |s| s.traces);
        let parked_max = pick.value("parked_max", PARKED_MAX_DEFAULT, |s| s.parked_max);
        let retry = pick.shown("retry", Retry::default(), Retry::to_string, |s| s.retry);
        let is_retry_said = pick.described.last().is_some_and(|retry| retry.origin != Origin::Default);
        let show = |budget: &Budget| budget.limit().map_or_else(|| "none".to_owned(), |it| it.to_string());
        let retry_budget = pick.shown("retry_budget", Budget::Unbounded, show, |s| s.retry_budget);
        let (letters, show) = (DeadLetterPolicy::default(), DeadLetterPolicy::to_string);
        let dead_letters = pick.shown("dead_letters", letters, show, |s| s.dead_letters);
        let mut limits = PriorityLimits::default();
        let mut ttl = TimeToLive::ephemeral();
        for priority in Priority::ALL {
            let at = priority.index();
            let (limit_name, ttl_name) = NAMES.get(at).copied().unwrap_or_default();
            let limit = pick.value(limit_name, limits.of(priority), |s| s.limits.get(at).copied().flatten());
            limits = limits.with(priority, limit);
            let default = ttl.of(priority).map_or(Wait::ForEver, Wait::AtMost);
            let wait = pick.value(ttl_name, default, |s| s.ttl.get(at).copied().flatten());
            ttl = ttl.with(priority, wait.limit());
        }
        let concurrency = u32::try_from(concurrency.clamp(1, CONCURRENCY_MAX)).unwrap_or(1);
        Effective {
            capacity: NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN),
            capacity_bytes: capacity_bytes.max(1),
            overflow,
            order,
            concurrency: NonZeroU32::new(concurrency).unwrap_or(NonZeroU32::MIN),
            limits,
            share,
            ttl,
            traces: traces.min(TRACES_MAX),
            parked_max: parked_max.max(1),
            retry,
            is_retry_said,
            retry_budget: retry_budget.limit(),
            dead_letters,
            described: pick.described,
        }
    }
}

impl Levels {
    /// Everything that is wrong with the settings of the bus and of filters.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (Origin, RetryProblem)> {
        let filters =
            self.filters.iter().map(|(filter, settings)| (Origin::Filter(filter.clone()), settings));
        let levels = std::iter::once((Origin::Bus, &self.bus)).chain(filters);
        levels.flat_map(|(at, settings)| {
            settings.problems().into_iter().map(move |problem| (at.clone(), problem))
        })
    }
}

struct Pick<'a> {
    levels: Vec<(Origin, &'a Settings)>,
    described: Vec<Setting>,
}

impl Pick<'_> {
    fn value<V: fmt::Debug>(
        &mut self,
        name: &'static str,
        default: V,
        read: impl Fn(&Settings) -> Option<V>,
    ) -> V {
        self.shown(name, default, |value| format!("{value:?}"), read)
    }

    fn shown<V>(
        &mut self,
        name: &'static str,
        default: V,
        show: impl Fn(&V) -> String,
        read: impl Fn(&Settings) -> Option<V>,
    ) -> V {
        let found = self.levels.iter().find_map(|(origin, level)| Some((origin.clone(), read(level)?)));
        let (origin, value) = found.unwrap_or((Origin::Default, default));
        self.described.push(Setting { name, value: show(&value), origin });
        value
    }
}

/// Settings that are remembered to be shared: those of the bus, and a few kinds of subscriptions.
const KNOWN_MAX: usize = 16;
const CAPACITY_DEFAULT: usize = 64;
const CAPACITY_BYTES_DEFAULT: usize = 64 * 1024 * 1024;
const CONCURRENCY_MAX: usize = 65_536;
const TRACES_MAX: usize = 1_024;
/// Some hundred bytes of memory each.
pub(crate) const PARKED_MAX_DEFAULT: usize = 1_000_000;
const SHARE_DEFAULT: [NonZeroU32; 4] = [weight(8), weight(4), weight(2), weight(1)];
const NAMES: [(&str, &str); 4] =
    [("limit_p0", "ttl_p0"), ("limit_p1", "ttl_p1"), ("limit_p2", "ttl_p2"), ("limit_p3", "ttl_p3")];

const fn weight(weight: u32) -> NonZeroU32 {
    NonZeroU32::new(weight).expect("a weight above zero")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::new(text).unwrap()
    }

    #[test]
    fn the_nearest_level_wins_and_says_so() {
        let filters = vec![
            (filter("orders.#"), Settings::new().capacity(10).ttl(Priority::P0, None)),
            (filter("orders.+"), Settings::new().capacity(20)),
        ];
        let levels = Levels { bus: Settings::new().capacity(1).concurrency(2), filters, ..Levels::default() };
        let effective = levels.resolve(&filter("orders.created"), &Settings::new().concurrency(3));
        assert_eq!((effective.capacity.get(), effective.concurrency.get()), (20, 3));
        assert_eq!(effective.ttl.of(Priority::P0), None);
        let said: Vec<_> = effective.described.iter().map(ToString::to_string).collect();
        assert!(said.contains(&"capacity = 20 (filter orders.+)".to_owned()), "{said:?}");
        assert!(said.contains(&"concurrency = 3 (subscription)".to_owned()), "{said:?}");
        assert!(said.contains(&"order = Lane (default)".to_owned()), "{said:?}");
        let other = levels.resolve(&filter("flights.#"), &Settings::new());
        assert_eq!(other.capacity.get(), 1);
    }

    #[test]
    fn values_out_of_bounds_are_brought_into_them() {
        let own =
            Settings::new().capacity(0).concurrency(0).share([0; 4]).traces(usize::MAX).capacity_bytes(0);
        let effective = Levels::default().resolve(&filter("a"), &own.priority_limit(Priority::P0, 0));
        assert_eq!((effective.capacity.get(), effective.concurrency.get()), (1, 1));
        assert_eq!((effective.traces, effective.capacity_bytes), (TRACES_MAX, 1));
        assert_eq!(effective.limits.of(Priority::P0).get(), 1);
    }

    #[test]
    fn equal_settings_are_kept_once_and_different_ones_apart() {
        let levels = Levels {
            bus: Settings::new().capacity(1),
            filters: vec![(filter("orders.#"), Settings::new().capacity(2))],
            ..Levels::default()
        };
        let one = levels.resolve_shared(&filter("a"), &Settings::new());
        assert!(Arc::ptr_eq(&one, &levels.resolve_shared(&filter("b.#"), &Settings::new())));
        assert_eq!(levels.resolve_shared(&filter("orders.x"), &Settings::new()).capacity.get(), 2);
        // The same value from another level is another answer of `describe`.
        let own = levels.resolve_shared(&filter("a"), &Settings::new().capacity(1));
        assert!(own.capacity == one.capacity && own.described != one.described);
        for capacity in 0..100 {
            levels.resolve_shared(&filter("a"), &Settings::new().capacity(capacity));
            assert!(levels.known.lock().len() <= KNOWN_MAX);
        }
    }

    #[test]
    fn a_filter_covers_what_lies_within_it() {
        let cases = [
            ("#", "a.+.#", true),
            ("a.#", "a", true),
            ("a.+", "a.b", true),
            ("a.+", "a.+", true),
            ("a.+", "a.#", false),
            ("a.b", "a.+", false),
            ("a.b.#", "a.#", false),
        ];
        for (outer, inner, expected) in cases {
            assert_eq!(filter(outer).covers(&filter(inner)), expected, "{outer} over {inner}");
        }
    }
}
