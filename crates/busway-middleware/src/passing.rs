//! Middleware that most deliveries pass at once, and that wants to know how each of them ended.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use busway_event::AnyDraft;

use crate::delivery::Delivery;
use crate::middleware::{ErasedMiddleware, Middleware, Step, StepForm};
use crate::outcome::Outcome;

/// A middleware that may have to wait, and mostly need not: a delivery that it [lets pass](Self::try_pass) at once costs no future. One that it does not goes the
/// way of its async form, [`Middleware::handle`], from the beginning.
///
/// What let it pass, a [`Pass`], comes back exactly once: with the outcome, or without one when the attempt was dropped in between (by a timeout outside of it, or a
/// shutdown whose grace is over). So what counts, locks or lends has its place here as in the async form. Of several such steps next to each other the outermost
/// takes this way, and the others their async form.
///
/// A panic is contained and named as that of [`Middleware`]; with a panic in [`passed`](Self::passed) its pass is gone.
pub trait PassMiddleware: Middleware {
    /// Lets a delivery pass, without waiting; `None`: it takes the async form.
    fn try_pass(&self, delivery: &Delivery) -> Option<Pass>;

    /// It has come back with this outcome, which may be changed. `emits` is what its handler wants published; it is, if the outcome stays `Done`.
    fn passed(&self, pass: Pass, delivery: &Delivery, outcome: Outcome, emits: &[AnyDraft]) -> Outcome;

    /// Its attempt was dropped.
    fn dropped(&self, pass: Pass);
}

/// What a delivery passed with: a number, and something that is shared where a number is not enough.
#[derive(Clone)]
#[must_use = "whoever gave it wants to know how the delivery ended"]
pub struct Pass {
    of: Option<Arc<dyn Any + Send + Sync>>,
    number: u64,
}

impl Pass {
    /// A pass that bears a number.
    #[inline]
    pub const fn of(number: u64) -> Self {
        Self { of: None, number }
    }

    /// It bears this too.
    pub fn with<T: Send + Sync + 'static>(self, of: Arc<T>) -> Self {
        Self { of: Some(of), ..self }
    }

    /// Its number.
    #[must_use]
    #[inline]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Whether it bears anything else.
    #[must_use]
    #[inline]
    pub const fn is_shared(&self) -> bool {
        self.of.is_some()
    }

    /// What else it bears; `None`: nothing, or something of another type.
    #[must_use]
    #[inline]
    pub fn into_shared<T: Send + Sync + 'static>(self) -> Option<Arc<T>> {
        self.of?.downcast().ok()
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Step {
    /// A middleware of this form.
    #[must_use]
    pub fn passing(middleware: impl PassMiddleware) -> Self {
        Self(StepForm::Pass(Arc::new(middleware)))
    }
}

/// [`PassMiddleware`], erased. A pass is put down where it stays, and taken from there.
pub(crate) trait ErasedPass: ErasedMiddleware {
    /// `false`: there is none.
    fn try_pass(&self, delivery: &Delivery, pass: &mut Option<Pass>) -> bool;
    /// Without a pass nothing is told, and the outcome stays.
    fn passed(
        &self,
        pass: &mut Option<Pass>,
        delivery: &Delivery,
        outcome: Outcome,
        emits: &[AnyDraft],
    ) -> Outcome;
    fn dropped(&self, pass: Pass);
    fn erased(&self) -> &dyn ErasedMiddleware;
}

impl<W: PassMiddleware> ErasedPass for W {
    fn try_pass(&self, delivery: &Delivery, pass: &mut Option<Pass>) -> bool {
        *pass = PassMiddleware::try_pass(self, delivery);
        pass.is_some()
    }

    fn passed(
        &self,
        pass: &mut Option<Pass>,
        delivery: &Delivery,
        outcome: Outcome,
        emits: &[AnyDraft],
    ) -> Outcome {
        match pass.take() {
            Some(pass) => PassMiddleware::passed(self, pass, delivery, outcome, emits),
            None => outcome,
        }
    }

    fn dropped(&self, pass: Pass) {
        PassMiddleware::dropped(self, pass);
    }

    fn erased(&self) -> &dyn ErasedMiddleware {
        self
    }
}
