//! Latency by percentile: the tail gets as much room as the middle, on both axes.

use super::svg::{Anchor, Drawing, colour};
use super::table::number;
use super::{Curve, Suite};

pub(super) fn plot(suite: &Suite) -> String {
    let values =
        || suite.curves.iter().flat_map(|curve| curve.points.iter().map(|(_, value)| value.max(1.0)));
    let least = values().fold(f64::INFINITY, f64::min).log10().floor();
    let most = values().fold(1.0, f64::max).log10().ceil().max(least + 1.0);
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * (value.max(1.0).log10() - least) / (most - least);

    let mut drawing = Drawing::new(WIDTH, BOTTOM + 50.0);
    drawing.text(10.0, 22.0, Anchor::Start, 15, &suite.name);
    drawing.text(10.0, 40.0, Anchor::Start, 11, "latency in ns by percentile, less is better");
    let mut power = least;
    while power <= most {
        let value = 10_f64.powf(power);
        drawing.line(&[(LEFT, y(value)), (RIGHT, y(value))], 0.5, "#ccc");
        drawing.text(LEFT - 6.0, y(value) + 4.0, Anchor::End, 11, &number(value));
        power += 1.0;
    }
    for percentile in [50.0, 90.0, 99.0, 99.9, 99.99, 99.999] {
        drawing.line(&[(x(percentile), TOP), (x(percentile), BOTTOM)], 0.5, "#ccc");
        drawing.text(x(percentile) + 12.0, BOTTOM + 16.0, Anchor::End, 11, &format!("{percentile}"));
    }
    let mut label = TOP + 12.0;
    for (at, Curve { name, points }) in suite.curves.iter().enumerate() {
        let points: Vec<_> = points.iter().map(|(percentile, value)| (x(*percentile), y(*value))).collect();
        drawing.line(&points, 2.0, colour(name, at));
        drawing.bar(RIGHT + 12.0, label - 9.0, 10.0, 10.0, colour(name, at));
        drawing.text(RIGHT + 26.0, label, Anchor::Start, 12, name);
        label += 18.0;
    }
    drawing.finish()
}

/// Each nine takes the same width, up to five of them.
fn x(percentile: f64) -> f64 {
    let nines = -(1.0 - percentile / 100.0).max(1e-6).log10();
    LEFT + (RIGHT - LEFT) * (nines / 5.2).min(1.0)
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 400.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_is_as_wide_as_the_last() {
        let widths = [x(99.0) - x(90.0), x(99.9) - x(99.0), x(99.99) - x(99.9)];
        assert!(widths.iter().all(|width| (width - widths[0]).abs() < 0.01), "{widths:?}");
        assert!(x(100.0) <= RIGHT);
    }
}
