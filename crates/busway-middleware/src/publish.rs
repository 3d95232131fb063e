//! Middleware around publishing: sync steps that see a draft before it is validated.
//!
//! ```text
//! enrich → user → validate
//! ```
//!
//! The engine's own enrichment (id, time, producer) comes with validation, which is always last.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use busway_event::DraftHead;
use parking_lot::Mutex;

use crate::chain::{RegistryError, contain, drop_contained, message_of};

/// A step around publishing.
pub trait PublishMiddleware: Send + Sync + 'static {
    /// Looks at a draft, may change it, or refuses it.
    ///
    /// # Errors
    /// [`PublishRefused`]: the publisher gets it, and the event back.
    fn before(&self, draft: &mut DraftHead) -> Result<(), PublishRefused>;
}

impl<F> PublishMiddleware for F
where
    F: Fn(&mut DraftHead) -> Result<(), PublishRefused> + Send + Sync + 'static,
{
    fn before(&self, draft: &mut DraftHead) -> Result<(), PublishRefused> {
        self(draft)
    }
}

/// Where around publishing a step stands. The order of the variants is the order of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PublishStage {
    /// Adds what is missing: trace context, tenant, key.
    Enrich,
    /// The application's own steps.
    User,
    /// Says no: [`Authorize`](crate::builtin::Authorize), [`ValidateMetadata`](crate::builtin::ValidateMetadata).
    /// What busway validates itself comes after this.
    Validate,
}

/// Named publish steps, in order of their stages, that may change while events are published.
#[derive(Default)]
pub struct PublishRegistry {
    steps: ArcSwap<Vec<PublishStep>>,
    /// How many there are: a bus without publish steps pays one load of this.
    count: AtomicUsize,
    /// Held while a new list is made, by writers only. No step is dropped under it.
    writing: Mutex<()>,
}

#[derive(Clone)]
struct PublishStep {
    stage: PublishStage,
    name: Arc<str>,
    step: Held,
}

/// A step's code. Whoever drops it last, a panic in that ends here.
#[derive(Clone)]
struct Held(Option<Arc<dyn PublishMiddleware>>);

impl Held {
    fn new(step: impl PublishMiddleware) -> Self {
        Self(Some(Arc::new(step)))
    }

    fn before(&self, draft: &mut DraftHead) -> Result<(), PublishRefused> {
        self.0.as_ref().map_or(Ok(()), |step| step.before(draft))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop_contained(self.0.take());
    }
}

impl PublishRegistry {
    /// No steps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step behind those of its stage.
    ///
    /// # Errors
    /// [`RegistryError::NameTaken`].
    pub fn add(
        &self,
        stage: PublishStage,
        name: &str,
        step: impl PublishMiddleware,
    ) -> Result<(), RegistryError> {
        // It lives until the lock is released, also when it is refused.
        let added = PublishStep { stage, name: name.into(), step: Held::new(step) };
        self.change(|steps| match steps.iter().any(|step| *step.name == *name) {
            true => Err(RegistryError::NameTaken { name: name.to_owned() }),
            false => {
                steps.push(added.clone());
                steps.sort_by_key(|step| step.stage);
                Ok(())
            }
        })
    }

    /// Puts another step in the place of the one that bears `name`; it keeps its stage and place.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub fn replace(&self, name: &str, step: impl PublishMiddleware) -> Result<(), RegistryError> {
        let held = Held::new(step);
        self.change(|steps| match steps.iter_mut().find(|step| *step.name == *name) {
            Some(found) => {
                found.step = held.clone();
                Ok(())
            }
            None => Err(RegistryError::NotFound { name: name.to_owned() }),
        })
    }

    /// Removes the step that bears `name`.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub fn remove(&self, name: &str) -> Result<(), RegistryError> {
        self.change(|steps| {
            let before = steps.len();
            steps.retain(|step| *step.name != *name);
            match steps.len() < before {
                true => Ok(()),
                false => Err(RegistryError::NotFound { name: name.to_owned() }),
            }
        })
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Names of the steps, outermost first, with their stages.
    #[must_use]
    pub fn names(&self) -> Vec<(PublishStage, Arc<str>)> {
        self.steps.load().iter().map(|step| (step.stage, Arc::clone(&step.name))).collect()
    }

    /// Runs all steps on a draft, as they are at this moment. A panic in one is contained and refuses the draft.
    ///
    /// # Errors
    /// The first refusal, with the name of the step; the steps after it do not run, what earlier ones changed stays.
    pub fn run(&self, draft: &mut DraftHead) -> Result<(), PublishRefused> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        self.steps.load().iter().try_for_each(|step| {
            let passed = contain(|| step.step.before(draft)).unwrap_or_else(|panic| {
                Err(PublishRefused::new(format!("it panicked: {}", message_of(&*panic))))
            });
            passed.map_err(|refused| refused.by(&step.name))
        })
    }

    fn change(
        &self,
        edit: impl FnOnce(&mut Vec<PublishStep>) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        let writing = self.writing.lock();
        let mut steps = self.steps.load().as_ref().clone();
        edit(&mut steps)?;
        let count = steps.len();
        let before = self.steps.swap(Arc::new(steps));
        self.count.store(count, Ordering::Release);
        drop(writing);
        // A step that goes is user code once more, and may change this registry itself.
        drop(before);
        Ok(())
    }
}

impl fmt::Debug for PublishRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// A publish step refused an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("publish middleware {name} refused the event: {reason}")]
pub struct PublishRefused {
    name: Arc<str>,
    reason: String,
}

impl PublishRefused {
    /// A refusal with its reason, for people to read. The step's name is added by the registry.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { name: "?".into(), reason: reason.into() }
    }

    /// The step that refused.
    #[must_use]
    pub fn step(&self) -> &str {
        &self.name
    }

    fn by(mut self, name: &Arc<str>) -> Self {
        self.name = Arc::clone(name);
        self
    }
}
