//! The fields of a line: a closed list, which index templates of log stores are made of.

/// A field of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogField {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldKind {
    /// A time: RFC 3339, UTC.
    Time,
    /// A word or a name, to be looked up as it is.
    Keyword,
    /// A text for people.
    Text,
    /// A whole number that is not negative.
    Count,
    /// Fields of the program's own, by name.
    Fields,
}

const fn field(name: &'static str, kind: FieldKind) -> LogField {
    LogField { name, kind }
}

/// All fields that a line may have at its top, in the order in which they are written. A line has the first four, and those of the others that there are. Other
/// fields of an event, whatever they are called, are within `fields`.
pub const FIELDS: [LogField; 18] = [
    field("timestamp", FieldKind::Time),
    field("level", FieldKind::Keyword),
    field("target", FieldKind::Keyword),
    field("message", FieldKind::Text),
    field("trace_id", FieldKind::Keyword),
    field("span_id", FieldKind::Keyword),
    field("event_id", FieldKind::Keyword),
    field("subscription", FieldKind::Keyword),
    field("topic", FieldKind::Keyword),
    field("attempt", FieldKind::Count),
    field("outcome", FieldKind::Keyword),
    field("error", FieldKind::Text),
    field("action", FieldKind::Keyword),
    field("subject", FieldKind::Keyword),
    field("by", FieldKind::Keyword),
    field("count", FieldKind::Count),
    field("reason", FieldKind::Text),
    field("fields", FieldKind::Fields),
];

/// Fields that are set by an event, with their places among all: the others are made by who writes the line.
pub(super) fn settable(name: &str) -> Option<usize> {
    FIELDS
        .iter()
        .position(|field| field.name == name)
        .filter(|at| (FIRST_SETTABLE..FIELDS.len() - 1).contains(at))
}

/// Fields that an event has from the spans that it is in, with their places among all. Spans of tracing systems have names of their own for them.
pub(super) fn inherited(name: &str) -> Option<usize> {
    let conventional = CONVENTIONAL.iter().find(|(conventional, _)| *conventional == name);
    settable(conventional.map_or(name, |(_, own)| own)).filter(|at| INHERITED.contains(at))
}

/// Names of OpenTelemetry's conventions for messaging (schema 1.42), and busway's own beside them.
const CONVENTIONAL: [(&str, &str); 4] = [
    ("messaging.message.id", "event_id"),
    ("messaging.destination.subscription.name", "subscription"),
    ("messaging.destination.name", "topic"),
    ("busway.attempt", "attempt"),
];
/// Behind `message`.
const FIRST_SETTABLE: usize = 4;
/// `trace_id` and `span_id`, then those up to `attempt`.
pub(super) const INHERITED: std::ops::Range<usize> = 4..10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_set_what_is_not_made_by_who_writes_the_line() {
        assert!(
            ["timestamp", "level", "target", "message", "fields", "user"]
                .iter()
                .all(|name| settable(name).is_none())
        );
        let inherited: Vec<_> =
            FIELDS.iter().map(|field| field.name).filter(|name| inherited(name).is_some()).collect();
        assert_eq!(inherited, ["trace_id", "span_id", "event_id", "subscription", "topic", "attempt"]);
        assert_eq!(settable("by"), Some(14));
    }
}
