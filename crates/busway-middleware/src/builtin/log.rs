//! One log record an outcome.

use crate::delivery::Delivery;
use crate::middleware::SyncMiddleware;
use crate::outcome::Outcome;

/// Emits a `tracing` event for each outcome: `debug` for done and skipped ones, `warn` for the others. Never the payload;
/// error texts (with their causes) are [redacted](crate::Scope::shown) as the bus says, then cut at 256 characters and escaped, so that they cannot forge log lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogOutcome;

impl SyncMiddleware for LogOutcome {
    fn after(&self, delivery: &Delivery, outcome: Outcome) -> Outcome {
        let event = delivery.event();
        let (subscription, label) = (delivery.scope().subscription(), outcome.label());
        let (topic, id, attempt) = (event.topic().as_str(), event.id(), delivery.attempt());
        match &outcome {
            Outcome::Done | Outcome::Skip => {
                tracing::debug!(subscription, topic, event_id = %id, attempt, outcome = label, "event handled");
            }
            Outcome::Failed(_) | Outcome::Dead(_) => {
                let error = outcome.error_text().unwrap_or_default();
                let error = log_text(&delivery.scope().shown(&error));
                tracing::warn!(subscription, topic, event_id = %id, attempt, outcome = label, error, "event not handled");
            }
            Outcome::RetryAt(time) => {
                tracing::warn!(subscription, topic, event_id = %id, attempt, outcome = label, at = %time, "event put off");
            }
        }
        outcome
    }
}

/// A text of somebody else's as it may stand in a log: its first 256 characters, escaped.
#[must_use]
pub fn log_text(text: &str) -> String {
    text.chars().take(LOG_CHARS_MAX).flat_map(char::escape_debug).collect()
}

const LOG_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_forge_a_line_nor_flood_the_log() {
        assert_eq!(log_text("a\nlevel=ERROR"), "a\\nlevel=ERROR");
        assert_eq!(log_text(&"x".repeat(10_000)).len(), LOG_CHARS_MAX);
    }
}
