//! What keys are called.

/// The names of a transport's keys: `<prefix>:<kind>:…`. Streams have no colon in theirs, so that no two names are the same.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) prefix: String,
    /// The kind of dead letters.
    pub(super) dead: String,
}

impl Names {
    pub(super) fn partition(&self, stream: &str, partition: u16) -> String {
        format!("{}:stream:{stream}:{partition}", self.prefix)
    }

    /// Which filters and how many partitions a stream was declared with.
    pub(super) fn declaration(&self, stream: &str) -> String {
        format!("{}:meta:{stream}", self.prefix)
    }

    /// The subscriptions of a stream, each with its filter.
    pub(super) fn subscriptions(&self, stream: &str) -> String {
        format!("{}:groups:{stream}", self.prefix)
    }

    /// When deliveries are due again. The subscription comes last: it may have any characters.
    pub(super) fn again(&self, stream: &str, partition: u16, subscription: &str) -> String {
        format!("{}:again:{stream}:{partition}:{subscription}", self.prefix)
    }

    /// What the names of remembered ids begin with: a span of time follows.
    pub(super) fn ids(&self, stream: &str) -> String {
        format!("{}:id:{stream}", self.prefix)
    }

    pub(super) fn dead(&self, stream: &str) -> String {
        format!("{}:{}:{stream}", self.prefix, self.dead)
    }
}

/// Kinds that dead letters cannot be called.
pub(super) const KINDS: [&str; 5] = ["stream", "meta", "groups", "again", "id"];
