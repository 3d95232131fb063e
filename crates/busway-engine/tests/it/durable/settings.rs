//! Settings of durable subscriptions, from three levels.

use std::time::Duration;

use busway_engine::{Bus, DeadLetterPolicy, Origin, Settings};
use busway_event::Filter;
use busway_reliability::{Retry, RetryBudget};
use busway_testkit::{Recorder, Script, Step, TestBus};

use super::{dir, with_orders};
use crate::world::{Number, number};

#[tokio::test]
async fn retries_and_dead_letters_come_from_bus_filter_and_subscription_and_the_nearest_wins() {
    let dir = dir();
    let (once, twice) = (Retry::never(), Retry::constant(Duration::from_secs(1)).attempts(2));
    let budget = RetryBudget::percent(50);
    let of_bus =
        Settings::new().retry(once).retry_budget(budget).dead_letters(DeadLetterPolicy::keep().capacity(7));
    let of_filter = Settings::new().retry(twice).dead_letters(DeadLetterPolicy::discard()).parked_max(9);
    let levels = |builder| with_orders(builder).settings(of_bus).filter_settings("orders.paid", of_filter);
    let bus = TestBus::open(dir.path(), levels).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::default().then(Step::Fail("no connection"));
    let all = bus.subscribe("orders.#").durable("all").to(recorder.scripted(&script)).await.unwrap();
    let paid = bus.subscribe("orders.paid").durable("paid").to(recorder.scripted(&script)).await.unwrap();
    let own = bus.subscribe("orders.paid").durable("own").retry(once).retry_budget(None);
    let own = own.dead_letters(DeadLetterPolicy::keep()).to(recorder.scripted(&script)).await.unwrap();
    let _ephemeral = bus.subscribe("orders.#").name("ephemeral").to(recorder.handler()).await.unwrap();

    let described = bus.describe();
    let setting = |subscription: &str, name: &str| {
        let described = described.subscription(subscription).unwrap();
        let setting = described.settings.iter().find(|setting| setting.name == name);
        setting.map(|setting| (setting.value.clone(), setting.origin.clone()))
    };
    let filter = || Origin::Filter(Filter::new("orders.paid").unwrap());
    let kept = DeadLetterPolicy::keep();
    let expected = [
        ("all", "retry", once.to_string(), Origin::Bus),
        ("all", "retry_budget", budget.to_string(), Origin::Bus),
        ("all", "dead_letters", kept.capacity(7).to_string(), Origin::Bus),
        ("all", "parked_max", "1000000".to_owned(), Origin::Default),
        ("paid", "retry", twice.to_string(), filter()),
        ("paid", "retry_budget", budget.to_string(), Origin::Bus),
        ("paid", "dead_letters", "discarded".to_owned(), filter()),
        ("paid", "parked_max", "9".to_owned(), filter()),
        ("own", "retry", once.to_string(), Origin::Subscription),
        ("own", "retry_budget", "none".to_owned(), Origin::Subscription),
        ("own", "dead_letters", kept.to_string(), Origin::Subscription),
    ];
    for (subscription, name, value, origin) in expected {
        assert_eq!(setting(subscription, name), Some((value, origin)), "{name} of {subscription}");
    }
    for name in ["retry", "retry_budget", "dead_letters", "parked_max"] {
        assert_eq!(setting("ephemeral", name), None, "{name} does not concern it");
    }

    bus.publish(number("orders.paid", 1)).await.unwrap();
    bus.settle().await;
    bus.clock().advance(Duration::from_secs(1));
    bus.settle().await;
    let counts = [&all, &paid, &own].map(|one| (one.stats().failed, one.stats().dead, one.stats().discarded));
    assert_eq!(counts, [(0, 1, 0), (1, 1, 1), (0, 1, 0)]);
    bus.finish().await;
}

#[tokio::test]
async fn settings_that_cannot_be_meant_are_refused_with_the_bus_all_of_them() {
    let dir = dir();
    let none = || Settings::new().retry(Retry::default().attempts(0));
    let builder =
        with_orders(Bus::open(dir.path())).settings(none().retry_budget(RetryBudget::percent(0).at_least(0)));
    let error = builder.filter_settings("orders.#", none()).start().await.unwrap_err();
    let said: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said[0].starts_with("settings of the bus: ")
            && said[2].starts_with("settings of the filter orders.#: "),
        "{said:?}"
    );
}
