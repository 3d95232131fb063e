//! What a subscription's filter may be given as.

use busway_event::{Filter, FilterError, Topic};

/// What can be the filter of a subscription: a [`Filter`] or [`Topic`], which are valid already, or text, which is checked
/// by `.to(…)`.
pub trait IntoFilter {
    /// The filter, or the rule that the text breaks.
    ///
    /// # Errors
    /// [`FilterError`].
    fn into_filter(self) -> Result<Filter, FilterError>;
}

impl IntoFilter for Filter {
    fn into_filter(self) -> Result<Filter, FilterError> {
        Ok(self)
    }
}

impl IntoFilter for &Filter {
    fn into_filter(self) -> Result<Filter, FilterError> {
        Ok(self.clone())
    }
}

impl IntoFilter for Topic {
    fn into_filter(self) -> Result<Filter, FilterError> {
        Ok(self.into())
    }
}

impl IntoFilter for &str {
    fn into_filter(self) -> Result<Filter, FilterError> {
        Filter::new(self)
    }
}

impl IntoFilter for String {
    fn into_filter(self) -> Result<Filter, FilterError> {
        Filter::new(self)
    }
}
