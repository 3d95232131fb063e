//! What kind of failure an error is, by what the program says of it.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use busway_middleware::Outcome;
use busway_reliability::FailureClass;

type Classify = dyn Fn(&(dyn Error + Send + Sync + 'static)) -> FailureClass + Send + Sync;

/// A subscription's own `.classify(f)`, if it has one.
#[derive(Clone, Default)]
pub(crate) struct Classifier(Option<Arc<Classify>>);

impl Classifier {
    pub(crate) fn new(
        classify: impl Fn(&(dyn Error + Send + Sync + 'static)) -> FailureClass + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(classify)))
    }

    /// Asked of errors that say nothing themselves: what is marked [`Permanent`](busway_middleware::Permanent) is dead already. A panic of the
    /// user's function says nothing either.
    pub(crate) fn class_of(&self, outcome: &Outcome) -> FailureClass {
        let (Some(classify), Outcome::Failed(error)) = (&self.0, outcome) else {
            return FailureClass::Transient;
        };
        match catch_unwind(AssertUnwindSafe(|| classify(&**error))) {
            Ok(class) => class,
            Err(_) => {
                tracing::error!("a function that classifies errors panicked: the error counts as transient");
                FailureClass::Transient
            }
        }
    }
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Classifier" } else { "Transient" })
    }
}
