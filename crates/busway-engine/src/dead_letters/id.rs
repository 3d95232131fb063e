//! The name of a dead letter.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use busway_middleware::Position;
use thiserror::Error;

/// Names a dead letter: its subscription, and where its stream holds the event. As text `stock/orders/0/17`; of a subscription
/// that was removed, and whose name another one bears, `stock#7/orders/0/17`, with the number that it had in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterId {
    /// The durable subscription that gave the event up.
    pub subscription: Arc<str>,
    /// The event's place.
    pub position: Position,
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.subscription, self.position)
    }
}

/// A text that names no dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{text}\" names no dead letter: write subscription/stream/partition/offset, as stock/orders/0/17")]
pub struct DeadLetterIdError {
    /// The text.
    pub text: String,
}

impl FromStr for DeadLetterId {
    type Err = DeadLetterIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.rsplitn(4, '/');
            let offset = parts.next()?.parse().ok()?;
            let partition = parts.next()?.parse().ok()?;
            let stream = parts.next().filter(|name| !name.is_empty())?.into();
            let subscription = parts.next().filter(|name| !name.is_empty())?.into();
            Some(Self { subscription, position: Position { stream, partition, offset } })
        };
        parse().ok_or_else(|| DeadLetterIdError { text: text.chars().take(TEXT_CHARS_MAX).collect() })
    }
}

/// What is shown of a wrong text.
const TEXT_CHARS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_from_its_text_and_what_is_none_is_told_how() {
        let id: DeadLetterId = "stock/orders/3/17".parse().unwrap();
        assert_eq!((id.position.partition, id.position.offset), (3, 17));
        assert_eq!(id.to_string(), "stock/orders/3/17");
        for wrong in ["", "stock", "stock/orders/3", "stock/orders/x/17", "/orders/0/1", "stock//0/1"] {
            let error = wrong.parse::<DeadLetterId>().unwrap_err();
            assert!(error.to_string().contains("as stock/orders/0/17"), "{error}");
        }
    }
}
