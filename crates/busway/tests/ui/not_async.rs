//! A function that is not async says where it runs: `blocking(f)` or `inline(f)`.

use busway::prelude::*;

fn count(meta: Meta) {
    println!("{}", meta.producer());
}

fn main() {
    let _ = |bus: &Bus| drop(bus.subscribe("orders.created").to(count));
}
