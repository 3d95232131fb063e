//! The middleware of the suites: a sync step that looks at what it sees and changes nothing.

use busway::prelude::*;

/// Reads the event before the handler and the outcome after it.
#[derive(Debug, Clone, Copy)]
pub struct Look;

impl SyncMiddleware for Look {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        std::hint::black_box(delivery.event().topic().as_str());
        Flow::Continue
    }

    fn after(&self, _delivery: &Delivery, outcome: Outcome) -> Outcome {
        std::hint::black_box(outcome)
    }
}
