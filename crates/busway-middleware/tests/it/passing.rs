//! Steps that deliveries pass at once: whatever stands beside them, they do what their async form does.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use busway_event::AnyDraft;
use busway_middleware::chain::{Begun, begin, go_on, run};
use busway_middleware::{
    AnyHandler, Chain, Delivery, Emit, Ephemeral, Invocation, Middleware, Next, Outcome, Pass,
    PassMiddleware, Progress, Step,
};

use crate::world::{Journal, Order, chain_of, delivery, draft, ephemeral, pause, poll_once, run_once};

/// Notes who passes and how it ended. In which form it was passed is not told apart, but for `form`.
struct Turnstile {
    name: &'static str,
    journal: Journal,
    lets_pass: bool,
    form: bool,
}

impl Turnstile {
    fn step(name: &'static str, journal: &Journal, lets_pass: bool) -> Step {
        Step::passing(Self { name, journal: journal.clone(), lets_pass, form: false })
    }

    fn ended(&self, how: &str) {
        self.journal.note(format!("< {} {how}", self.name));
    }
}

/// Notes that the future was dropped before there was an outcome.
struct Unless<'a>(Option<&'a Turnstile>);

impl Drop for Unless<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|turnstile| turnstile.ended("dropped"));
    }
}

impl Middleware for Turnstile {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        self.journal.note(format!("> {}{}", self.name, if self.form { " waits" } else { "" }));
        let mut unless = Unless(Some(self));
        let outcome = next.run(delivery).await;
        unless.0 = None;
        self.ended(&format!("{outcome} and {}", next.emits().len()));
        outcome
    }
}

impl PassMiddleware for Turnstile {
    fn try_pass(&self, delivery: &Delivery) -> Option<Pass> {
        self.lets_pass.then(|| {
            self.journal.note(format!("> {}", self.name));
            Pass::of(u64::from(delivery.attempt())).with(Arc::new(self.name))
        })
    }

    fn passed(&self, pass: Pass, delivery: &Delivery, outcome: Outcome, emits: &[AnyDraft]) -> Outcome {
        assert_eq!(pass.number(), u64::from(delivery.attempt()));
        assert_eq!(*pass.into_shared::<&str>().unwrap(), self.name);
        self.ended(&format!("{outcome} and {}", emits.len()));
        outcome
    }

    fn dropped(&self, pass: Pass) {
        assert!(pass.clone().into_shared::<u8>().is_none());
        assert_eq!(*pass.into_shared::<&str>().unwrap(), self.name);
        self.ended("dropped");
    }
}

fn form(form: usize, name: &'static str, journal: &Journal) -> Step {
    match form {
        0 => journal.sync(name),
        1 => journal.waiting(name),
        2 => Turnstile::step(name, journal, true),
        _ => Turnstile::step(name, journal, false),
    }
}

fn handlers(journal: &Journal) -> [AnyHandler<Ephemeral>; 4] {
    let of = |ends: fn() -> Outcome| {
        let journal = journal.clone();
        ephemeral(move || {
            journal.note("handler");
            async move {
                pause().await;
                ends()
            }
        })
    };
    let emitting = {
        let journal = journal.clone();
        ephemeral(move || {
            journal.note("handler");
            async { Emit::new().event(draft(2)) }
        })
    };
    [of(|| Outcome::Done), of(|| Outcome::failed("no")), of(|| panic!("ow")), emitting]
}

/// As [`run`], in its two steps.
async fn in_steps(
    chain: &Chain,
    delivery: &mut Delivery,
    invocation: &mut (dyn Invocation + 'static),
    progress: &mut Progress,
) -> Outcome {
    let begun = poll_fn(|context| Poll::Ready(begin(chain, delivery, invocation, progress, context))).await;
    match begun {
        Begun::Over(outcome) => outcome,
        Begun::Waits(inside) => go_on(inside, delivery, invocation, progress).await,
    }
}

#[tokio::test]
async fn what_waits_and_is_let_go_of_was_dropped() {
    let journal = Journal::default();
    let chain = chain_of([("a", Turnstile::step("a", &journal, true))]);
    let [handler, ..] = handlers(&journal);
    let (mut delivery, mut invocation, mut progress) = (delivery(1), handler.invocation(), Progress::new());
    let begun = poll_fn(|context| {
        Poll::Ready(begin(&chain, &mut delivery, &mut *invocation, &mut progress, context))
    });
    let Begun::Waits(inside) = begun.await else { panic!("its handler waits") };
    let begun = journal.take();
    drop(inside);
    // Where a test beside this one listens to spans, all of it begins when it goes on.
    match begun.is_empty() {
        true => assert!(journal.take().is_empty(), "what has not begun is not dropped"),
        false => {
            assert_eq!(begun, ["> a", "handler"]);
            assert_eq!(journal.take(), ["< a dropped"]);
        }
    }
    // The slot is good for the next one.
    let outcome = in_steps(&chain, &mut delivery, &mut *invocation, &mut progress).await;
    assert!(outcome.is_done());
    assert_eq!(journal.take(), ["> a", "handler", "< a done and 0"]);
}

#[tokio::test]
async fn they_do_what_their_async_form_does_whatever_stands_beside_them() {
    let journal = Journal::default();
    for handler in handlers(&journal) {
        for forms in (0..64).map(|number| [number % 4, number / 4 % 4, number / 16]) {
            let chain = |forms: [usize; 3]| {
                let [a, b, c] = forms;
                chain_of([
                    ("a", form(a, "a", &journal)),
                    ("b", form(b, "b", &journal)),
                    ("c", form(c, "c", &journal)),
                ])
            };
            // The third form as the fourth: the same steps, and none is passed at once.
            let model = forms.map(|form| form.min(2) + usize::from(form == 2));
            let mut journals = Vec::new();
            for polls in 1..=9 {
                for (forms, is_in_steps) in [(forms, false), (model, false), (forms, true)] {
                    let (chain, mut delivery) = (chain(forms), delivery(1));
                    let (mut invocation, mut progress) = (handler.invocation(), Progress::new());
                    let mut future: Pin<Box<dyn Future<Output = Outcome>>> = match is_in_steps {
                        false => Box::pin(run(&chain, &mut delivery, &mut *invocation, &mut progress)),
                        true => Box::pin(in_steps(&chain, &mut delivery, &mut *invocation, &mut progress)),
                    };
                    let mut outcome = None;
                    for _ in 0..polls {
                        outcome = outcome.or(poll_once(&mut future).await);
                        if outcome.is_some() {
                            break;
                        }
                    }
                    drop(future);
                    let outcome = outcome.map(|outcome| outcome.to_string());
                    journals.push((journal.take(), outcome, progress.take_emits().len()));
                }
            }
            for (polls, [own, of_model, in_steps]) in journals.as_chunks().0.iter().enumerate() {
                assert_eq!(own, of_model, "{forms:?}, dropped after {} polls", polls + 1);
                // Its handler may have been asked once more.
                let next = journals.get((polls + 1) * 3).unwrap_or(own);
                assert!(
                    [own, next].contains(&in_steps),
                    "{forms:?} in steps, {} polls: {in_steps:?}",
                    polls + 1
                );
            }
        }
    }
}

#[tokio::test]
async fn of_two_beside_each_other_the_outer_one_is_passed_at_once() {
    let journal = Journal::default();
    let step = |name, lets_pass| {
        let turnstile = Turnstile { name, journal: journal.clone(), lets_pass, form: true };
        Step::passing(turnstile)
    };
    let chain = chain_of([("a", step("a", true)), ("b", step("b", true)), ("c", step("c", true))]);
    run_once(&chain, &journal.handler(), &mut delivery(1)).await;
    let expected =
        ["> a", "> b waits", "> c", "handler", "< c done and 0", "< b done and 0", "< a done and 0"];
    assert_eq!(journal.take(), expected);
    assert!(chain.has_async(), "an inline handler must not stand behind one");
}

/// Panics, or fails, where it is told to.
struct Clumsy(&'static str);

impl Middleware for Clumsy {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        next.run(delivery).await
    }
}

impl PassMiddleware for Clumsy {
    fn try_pass(&self, _delivery: &Delivery) -> Option<Pass> {
        assert_ne!(self.0, "try_pass");
        Some(Pass::of(0))
    }

    fn passed(&self, _pass: Pass, _delivery: &Delivery, outcome: Outcome, _emits: &[AnyDraft]) -> Outcome {
        assert_ne!(self.0, "passed");
        if self.0 == "fails" { Outcome::failed("no") } else { outcome }
    }

    fn dropped(&self, _pass: Pass) {
        assert_ne!(self.0, "dropped");
    }
}

#[tokio::test]
async fn their_panics_and_failures_bear_their_names_and_those_outside_are_left() {
    for (clumsy, called) in [("try_pass", false), ("passed", true), ("fails", true)] {
        let journal = Journal::default();
        let chain = chain_of([("a", journal.sync("a")), ("clumsy", Step::passing(Clumsy(clumsy)))]);
        let (outcome, _) = run_once(&chain, &journal.handler(), &mut delivery(1)).await;
        let text = outcome.error_text().unwrap();
        assert!(text.contains("clumsy"), "{clumsy}: {text}");
        let handled = journal.take();
        assert_eq!(handled.iter().any(|line| line == "handler"), called, "{handled:?}");
        assert_eq!(handled.last().unwrap(), "< a failed");
    }
    // One that panics when its attempt is dropped harms nobody.
    let chain = chain_of([("clumsy", Step::passing(Clumsy("dropped")))]);
    let handler = ephemeral(|| async { pause().await });
    assert!(poll_once(run_once(&chain, &handler, &mut delivery(1))).await.is_none());
    let (outcome, _) = run_once(&chain, &handler, &mut delivery(1)).await;
    assert!(outcome.is_done());
}

#[test]
fn a_pass_shows_its_number() {
    let pass = Pass::of(7);
    assert_eq!(format!("{pass:?}"), "Pass { number: 7, .. }");
    assert!(pass.clone().into_shared::<Order>().is_none());
    assert_eq!(pass.with(Arc::new(Order { id: 1 })).into_shared::<Order>().unwrap().id, 1);
}
