//! What a handler says about an event, and what it wants published with that.

use std::error::Error;
use std::fmt;

use busway_event::{AnyDraft, Draft, EventType, Timestamp};

use crate::failure::Failure;

/// Any error: what handlers and middleware fail with.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What a handler said about an event.
///
/// On an ephemeral subscription every outcome settles the event: it is counted, reported when it is not
/// [`Done`](Outcome::Done) or [`Skip`](Outcome::Skip), and gone.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Handled.
    Done,
    /// Failed in a way that may pass: worth another attempt where the subscription makes more than one.
    Failed(Failure),
    /// Not now: try again at this time, wall clock.
    RetryAt(Timestamp),
    /// Will never succeed: no further attempt, with the reason.
    Dead(Failure),
    /// Not for this handler: settled without having been handled.
    Skip,
}

impl Outcome {
    /// [`Outcome::Failed`] from anything that becomes an error, as an `Err` of a handler would be: one that is marked
    /// [`Permanent`] becomes [`Outcome::Dead`].
    ///
    /// ```
    /// use busway_middleware::{Outcome, Permanent};
    ///
    /// assert_eq!(Outcome::failed("no connection").to_string(), "failed: no connection");
    /// assert_eq!(Outcome::failed(Permanent("no such order")).to_string(), "dead: no such order");
    /// ```
    pub fn failed(error: impl Into<BoxError>) -> Self {
        Self::of_error(error.into())
    }

    /// [`Outcome::Dead`] from anything that becomes an error: a `&str` will do.
    pub fn dead(reason: impl Into<BoxError>) -> Self {
        Self::Dead(Failure::from(reason))
    }

    /// Whether it is [`Outcome::Done`].
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// The error or reason, when there is one.
    #[must_use]
    pub fn error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        match self {
            Self::Failed(error) | Self::Dead(error) => Some(&**error),
            _ => None,
        }
    }

    /// The error or reason with what caused it, outermost first, when there is one: `middleware billing failed:
    /// connection refused`. A cause with which the text ends already is not repeated.
    #[must_use]
    pub fn error_text(&self) -> Option<String> {
        let error = self.error()?;
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let inner = error.to_string();
            if !text.ends_with(&inner) {
                text.push_str(": ");
                text.push_str(&inner);
            }
            cause = error.source();
        }
        Some(text)
    }

    /// The word for it: `done`, `failed`, `retry`, `dead` or `skipped`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed(_) => "failed",
            Self::RetryAt(_) => "retry",
            Self::Dead(_) => "dead",
            Self::Skip => "skipped",
        }
    }

    fn of_error(error: BoxError) -> Self {
        match error.downcast::<PermanentError>() {
            Ok(permanent) => Self::Dead(permanent.0.into()),
            Err(error) => Self::Failed(error.into()),
        }
    }
}

/// The word, and the error with its causes.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RetryAt(time) => write!(f, "retry at {time}"),
            Self::Done | Self::Skip | Self::Failed(_) | Self::Dead(_) => {
                f.write_str(self.label())?;
                self.error_text().map_or(Ok(()), |text| write!(f, ": {text}"))
            }
        }
    }
}

/// Marks an error as permanent: another attempt would fail as well. In a handler that returns `Result<_, BoxError>`:
/// `parse(text).map_err(Permanent)?`.
#[derive(Debug, Clone, Copy)]
pub struct Permanent<E>(pub E);

impl<E: Into<BoxError>> From<Permanent<E>> for BoxError {
    fn from(permanent: Permanent<E>) -> Self {
        Box::new(PermanentError(permanent.0.into()))
    }
}

/// What [`Permanent`] becomes inside of a [`BoxError`].
#[derive(Debug)]
struct PermanentError(BoxError);

impl fmt::Display for PermanentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for PermanentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// An outcome with the events to publish when it is [`Outcome::Done`].
#[derive(Debug)]
pub struct Reply {
    /// What the handler said.
    pub outcome: Outcome,
    /// Published with the settlement, in this order; dropped unless the final outcome is done.
    pub emits: Vec<AnyDraft>,
}

impl Reply {
    /// Whether it says no more than that the event is handled.
    #[inline]
    pub(crate) const fn is_plain(&self) -> bool {
        self.outcome.is_done() && self.emits.is_empty()
    }
}

impl From<Outcome> for Reply {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, emits: Vec::new() }
    }
}

/// What a handler may return.
///
/// `()` and events are [`Outcome::Done`]; an `Err` is [`Outcome::Failed`] unless it was marked [`Permanent`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a handler may return",
    label = "not an outcome",
    note = "return `()`, `Result<_, E>` with `E: Into<Box<dyn Error + Send + Sync>>`, an `Outcome`, or events to publish: `Draft<T>`, `Option`/`Vec` or a tuple of drafts, `Emit`"
)]
pub trait IntoReply {
    /// Whether there may be events to publish in it. Default: yes. A reply that has some though this says no is that of a handler that has failed, where anybody relies on it.
    const MAY_EMIT: bool = true;

    /// The outcome and the events.
    fn into_reply(self) -> Reply;

    /// The same when it says more than that the event is done: most replies do not, and nothing is made and moved for them. Default: looks at
    /// [`into_reply`](Self::into_reply).
    #[inline]
    fn beyond_done(self) -> Option<Reply>
    where
        Self: Sized,
    {
        Some(self.into_reply()).filter(|reply| !reply.is_plain())
    }
}

impl IntoReply for () {
    const MAY_EMIT: bool = false;

    #[inline]
    fn into_reply(self) -> Reply {
        Outcome::Done.into()
    }

    #[inline]
    fn beyond_done(self) -> Option<Reply> {
        None
    }
}

impl IntoReply for Outcome {
    const MAY_EMIT: bool = false;

    #[inline]
    fn into_reply(self) -> Reply {
        self.into()
    }
}

impl IntoReply for Reply {
    fn into_reply(self) -> Reply {
        self
    }
}

impl<R: IntoReply, E: Into<BoxError>> IntoReply for Result<R, E> {
    const MAY_EMIT: bool = R::MAY_EMIT;

    #[inline]
    fn into_reply(self) -> Reply {
        match self {
            Ok(reply) => reply.into_reply(),
            Err(error) => Outcome::of_error(error.into()).into(),
        }
    }

    #[inline]
    fn beyond_done(self) -> Option<Reply> {
        match self {
            Ok(reply) => reply.beyond_done(),
            Err(error) => Some(Outcome::of_error(error.into()).into()),
        }
    }
}

impl<T: EventType> IntoReply for Draft<T> {
    fn into_reply(self) -> Reply {
        Emit::new().event(self).into_reply()
    }
}

impl IntoReply for AnyDraft {
    fn into_reply(self) -> Reply {
        Emit::new().event(self).into_reply()
    }
}

impl<D: Into<AnyDraft>> IntoReply for Option<D> {
    fn into_reply(self) -> Reply {
        Reply { outcome: Outcome::Done, emits: self.into_iter().map(Into::into).collect() }
    }
}

impl<D: Into<AnyDraft>> IntoReply for Vec<D> {
    fn into_reply(self) -> Reply {
        Reply { outcome: Outcome::Done, emits: self.into_iter().map(Into::into).collect() }
    }
}

macro_rules! reply_of_tuple {
    ($($name:ident),+) => {
        impl<$($name: Into<AnyDraft>),+> IntoReply for ($($name,)+) {
            fn into_reply(self) -> Reply {
                #[expect(non_snake_case, reason = "the type parameters name the values")]
                let ($($name,)+) = self;
                Reply { outcome: Outcome::Done, emits: vec![$($name.into()),+] }
            }
        }
    };
}

reply_of_tuple!(A, B);
reply_of_tuple!(A, B, C);
reply_of_tuple!(A, B, C, D);

/// Events of different types to publish with the settlement, as a list that grows.
#[derive(Debug, Default)]
pub struct Emit {
    drafts: Vec<AnyDraft>,
}

impl Emit {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { drafts: Vec::new() }
    }

    /// Adds an event behind the others.
    pub fn event(mut self, draft: impl Into<AnyDraft>) -> Self {
        self.drafts.push(draft.into());
        self
    }
}

impl IntoReply for Emit {
    fn into_reply(self) -> Reply {
        Reply { outcome: Outcome::Done, emits: self.drafts }
    }
}

#[cfg(test)]
mod tests {
    use busway_event::{Event, Raw};

    use super::*;

    fn fail(permanent: bool) -> Result<(), BoxError> {
        let number = "x".parse::<u8>();
        if permanent {
            number.map_err(Permanent)?;
        } else {
            number?;
        }
        Ok(())
    }

    #[test]
    fn an_error_is_transient_unless_it_is_marked_permanent() {
        assert!(matches!(fail(false).into_reply().outcome, Outcome::Failed(_)));
        let dead = fail(true).into_reply().outcome;
        assert_eq!(dead.to_string(), "dead: invalid digit found in string");
    }

    /// So that it travels in registers, see `Failure`.
    #[test]
    fn an_outcome_is_two_words() {
        assert_eq!(size_of::<Outcome>(), 2 * size_of::<usize>());
    }

    #[test]
    fn events_are_done_and_keep_their_order() {
        let draft = |topic: &str| Event::new(topic, Raw::default());
        let reply = (draft("a"), draft("b")).into_reply();
        let topics: Vec<_> = reply.emits.iter().map(|draft| draft.head().topic().unwrap().as_str()).collect();
        assert!(reply.outcome.is_done());
        assert_eq!(topics, ["a", "b"]);
        assert_eq!(Some(draft("a")).into_reply().emits.len(), 1);
        assert_eq!(Emit::new().event(draft("a")).event(draft("b")).into_reply().emits.len(), 2);
    }
}
