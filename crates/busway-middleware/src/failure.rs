//! An error behind one pointer, so that an outcome is two words.

use std::error::Error;
use std::fmt;
use std::ops::Deref;

use crate::outcome::BoxError;

/// The error of an [`Outcome`](crate::Outcome): any error, behind one pointer. Dereferences to it.
///
/// It is no error itself, as every error becomes one; where one is wanted, [`into_inner`](Failure::into_inner) takes it out.
///
/// ```
/// use busway_middleware::{Failure, Outcome};
///
/// let number: Result<u8, _> = "x".parse();
/// let failure = Failure::from(number.unwrap_err());
/// assert!(failure.is::<std::num::ParseIntError>());
/// assert_eq!(Outcome::Failed(failure).to_string(), "failed: invalid digit found in string");
/// ```
// One pointer instead of two keeps an `Outcome` in two registers through every step of a chain.
pub struct Failure(Box<BoxError>);

impl Failure {
    /// The error.
    #[must_use]
    pub fn into_inner(self) -> BoxError {
        *self.0
    }

    pub(crate) const fn inner(&self) -> &BoxError {
        &self.0
    }
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

impl Deref for Failure {
    type Target = dyn Error + Send + Sync + 'static;

    fn deref(&self) -> &Self::Target {
        &**self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
