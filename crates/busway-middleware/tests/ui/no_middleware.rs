//! A type that is no middleware.

use busway_middleware::middleware::IntoStep;

struct Audit;

fn add<Form>(middleware: impl IntoStep<Form>) {
    middleware.into_step();
}

fn main() {
    add(Audit);
}
