//! Publish middleware: its order, refusals, panics and changes.

use busway_event::{DraftHead, Topic};
use busway_middleware::builtin::{Authorize, Refusal, ValidateMetadata};
use busway_middleware::{PublishMiddleware, PublishRefused, PublishRegistry, PublishStage, RegistryError};

use crate::world::{Journal, Order, draft};

fn noting(journal: &Journal, name: &'static str) -> impl PublishMiddleware {
    let journal = journal.clone();
    move |_: &mut DraftHead| {
        journal.note(name);
        Ok(())
    }
}

fn run(registry: &PublishRegistry) -> Result<(), PublishRefused> {
    registry.run(draft(1).head_mut())
}

#[test]
fn steps_run_by_stage_and_within_a_stage_as_they_were_added() {
    let journal = Journal::default();
    let registry = PublishRegistry::new();
    assert_eq!(run(&registry), Ok(()), "without steps there is nothing to refuse");
    let (enrich, user, validate) = (PublishStage::Enrich, PublishStage::User, PublishStage::Validate);
    for (stage, name) in [(validate, "d"), (user, "b"), (enrich, "a"), (user, "c")] {
        registry.add(stage, name, noting(&journal, name)).unwrap();
    }
    run(&registry).unwrap();
    assert_eq!(journal.take(), ["a", "b", "c", "d"]);
    let names = registry.names();
    let names: Vec<_> = names.iter().map(|(stage, name)| (*stage, &**name)).collect();
    assert_eq!(names, [(enrich, "a"), (user, "b"), (user, "c"), (validate, "d")]);
}

#[test]
fn steps_are_replaced_and_removed_by_name() {
    let journal = Journal::default();
    let registry = PublishRegistry::new();
    let user = PublishStage::User;
    registry.add(user, "a", noting(&journal, "a")).unwrap();
    registry.add(user, "b", noting(&journal, "b")).unwrap();
    let taken = registry.add(PublishStage::Enrich, "a", noting(&journal, "x"));
    assert_eq!(taken, Err(RegistryError::NameTaken { name: "a".into() }));
    let missing = Err(RegistryError::NotFound { name: "c".into() });
    assert_eq!(
        (registry.remove("c"), registry.replace("c", noting(&journal, "c"))),
        (missing.clone(), missing)
    );
    registry.replace("a", noting(&journal, "a, new")).unwrap();
    run(&registry).unwrap();
    assert_eq!(journal.take(), ["a, new", "b"]);
    registry.remove("a").unwrap();
    registry.remove("b").unwrap();
    run(&registry).unwrap();
    assert_eq!(journal.take(), [""; 0]);
}

#[test]
fn a_refusal_names_the_step_and_ends_the_run() {
    let journal = Journal::default();
    let registry = PublishRegistry::new();
    let refuse = |_: &mut DraftHead| Err(PublishRefused::new("not on a sunday"));
    registry.add(PublishStage::User, "calendar", refuse).unwrap();
    registry.add(PublishStage::Validate, "later", noting(&journal, "later")).unwrap();
    let refused = run(&registry).unwrap_err();
    assert_eq!(refused.step(), "calendar");
    assert_eq!(refused.to_string(), "publish middleware calendar refused the event: not on a sunday");
    assert_eq!(journal.take(), [""; 0]);
}

#[test]
fn a_panic_refuses_the_event_and_the_next_publish_goes_on() {
    let registry = PublishRegistry::new();
    let odd = |draft: &mut DraftHead| {
        assert!(draft.key().is_some(), "a bug");
        Ok(())
    };
    registry.add(PublishStage::Enrich, "odd", odd).unwrap();
    let refused = run(&registry).unwrap_err();
    assert_eq!(refused.to_string(), "publish middleware odd refused the event: it panicked: a bug");
    assert_eq!(registry.run(draft(1).key("k").head_mut()), Ok(()));
}

#[test]
fn what_is_enriched_first_is_validated_last() {
    let registry = PublishRegistry::new();
    let authorize = Authorize::new(|topic, metadata| match metadata.get("tenant") {
        Some("a") if topic.as_str() == "orders.a" => Ok(()),
        tenant => Err(Refusal::new(format!("{tenant:?} on {topic}"))),
    });
    registry.add(PublishStage::Validate, "authorize", authorize).unwrap();
    let refused = run(&registry).unwrap_err();
    assert!(refused.to_string().ends_with("not authorized: None on orders.created"), "{refused}");

    let enrich = |draft: &mut DraftHead| {
        draft.metadata_mut().set("tenant", "a");
        draft.set_topic(Topic::new("orders.a").map_err(|error| PublishRefused::new(error.to_string()))?);
        Ok(())
    };
    registry.add(PublishStage::Enrich, "tenant", enrich).unwrap();
    let mut draft = draft(1);
    registry.run(draft.head_mut()).unwrap();
    assert_eq!(
        (draft.head().topic().unwrap().as_str(), draft.head().metadata().get("tenant")),
        ("orders.a", Some("a"))
    );
}

#[test]
fn rules_on_metadata_refuse_a_draft_and_name_the_first_that_is_broken() {
    let registry = PublishRegistry::new();
    let rules = ValidateMetadata::new().require("tenant").check("region", |value| value.len() == 2);
    registry.add(PublishStage::Validate, "rules", rules.require("trace_id")).unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let cases = [
        (draft(1), "metadata \"tenant\" is required here and missing"),
        (draft(1).meta("tenant", "a"), "metadata \"region\" is required here and missing"),
        (
            draft(1).meta("tenant", "a").meta("region", "secret"),
            "the value of metadata \"region\" is not accepted here",
        ),
        (
            draft(1).meta("tenant", "a").meta("region", "eu"),
            "metadata \"trace_id\" is required here and missing",
        ),
    ];
    for (mut draft, reason) in cases {
        let refused = registry.run(draft.head_mut()).unwrap_err();
        assert_eq!(refused.to_string(), format!("publish middleware rules refused the event: {reason}"));
    }
    let mut complete = draft(1).meta("tenant", "a").meta("region", "eu").meta("traceparent", trace);
    assert_eq!(registry.run(complete.head_mut()), Ok(()));
}

#[test]
fn a_rule_on_what_busway_fills_in_later_binds_only_a_publisher_who_sets_it() {
    let registry = PublishRegistry::new();
    let rules = ValidateMetadata::new().require("producer").require("version");
    let rules = rules.check("producer", |value| value == "billing").check("version", |_| false);
    registry.add(PublishStage::Validate, "rules", rules).unwrap();
    assert_eq!(run(&registry), Ok(()));
    assert_eq!(registry.run(draft(1).meta("producer", "billing").head_mut()), Ok(()));
    let refused = registry.run(draft(1).meta("producer", "stranger").head_mut()).unwrap_err();
    assert!(refused.to_string().ends_with("the value of metadata \"producer\" is not accepted here"));
}

#[test]
fn authorization_reaches_the_fields_of_a_draft_by_their_names() {
    let registry = PublishRegistry::new();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let authorize = Authorize::new(|_, metadata| {
        let names = ["producer", "version", "trace_id", "traceparent", "tracestate", "tenant"];
        let found: Vec<_> = names.into_iter().map(|name| metadata.get(name).unwrap_or("-")).collect();
        Err(Refusal::new(found.join(" ")))
    });
    registry.add(PublishStage::Validate, "authorize", authorize).unwrap();
    let told = |mut draft: busway_event::Draft<Order>| {
        let refused = registry.run(draft.head_mut()).unwrap_err().to_string();
        refused.rsplit_once("not authorized: ").unwrap().1.to_owned()
    };
    assert_eq!(told(draft(1)), "- - - - - -");
    let full = draft(1).meta("producer", "bank").meta("traceparent", trace).meta("tracestate", "b=1");
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!(told(full.meta("tenant", "a")), format!("bank - {trace_id} {trace} b=1 a"));
}

#[test]
fn a_draft_without_a_topic_is_left_to_validation() {
    let registry = PublishRegistry::new();
    let nobody = Authorize::new(|_, _| Err(Refusal::new("nobody")));
    registry.add(PublishStage::Validate, "authorize", nobody).unwrap();
    let mut draft = busway_event::Event::new("orders..x", Order { id: 1 });
    assert_eq!(registry.run(draft.head_mut()), Ok(()));
}
