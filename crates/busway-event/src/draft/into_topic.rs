//! What a publisher may write where a topic is wanted.

use crate::topic::{Topic, TopicError};

/// What can be the topic of a new event: a [`Topic`], which is valid already, or text, which is checked when the event is
/// published.
pub trait IntoTopic {
    /// The topic, or the rule that the text breaks.
    ///
    /// # Errors
    /// [`TopicError`].
    fn into_topic(self) -> Result<Topic, TopicError>;
}

impl IntoTopic for Topic {
    fn into_topic(self) -> Result<Topic, TopicError> {
        Ok(self)
    }
}

impl IntoTopic for &Topic {
    fn into_topic(self) -> Result<Topic, TopicError> {
        Ok(self.clone())
    }
}

impl IntoTopic for &str {
    fn into_topic(self) -> Result<Topic, TopicError> {
        Topic::new(self)
    }
}

impl IntoTopic for String {
    fn into_topic(self) -> Result<Topic, TopicError> {
        Topic::new(self)
    }
}

impl IntoTopic for &String {
    fn into_topic(self) -> Result<Topic, TopicError> {
        Topic::new(self.as_str())
    }
}
