//! A bar a contender: the median, with a line from the least to the most of its runs.

use super::svg::{Anchor, Drawing, colour};
use super::table::number;
use super::{Contender, Suite};

pub(super) fn plot(suite: &Suite) -> String {
    let most =
        suite.contenders.iter().map(|contender| contender.max).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut y = TOP;
    let rows = suite.contenders.iter().map(|contender| {
        let at = y;
        y += ROW;
        (at, contender)
    });
    let rows: Vec<_> = rows.collect();
    let mut drawing = Drawing::new(WIDTH, y + 10.0);
    let better = if suite.higher_is_better { "more is better" } else { "less is better" };
    drawing.text(10.0, 22.0, Anchor::Start, 15, &suite.name);
    drawing.text(10.0, 40.0, Anchor::Start, 11, &format!("{}, {better}", suite.unit));
    for (at, (y, contender)) in rows.into_iter().enumerate() {
        let Contender { name, median, min, max, .. } = contender;
        let x = |value: f64| LEFT + BARS * (value / most).clamp(0.0, 1.0);
        drawing.text(LEFT - 8.0, y + 15.0, Anchor::End, 12, name);
        drawing.bar(LEFT, y + 3.0, x(*median) - LEFT, ROW - 8.0, colour(name, at));
        let middle = y + 3.0 + (ROW - 8.0) / 2.0;
        drawing.line(&[(x(*min), middle), (x(*max), middle)], 1.5, "#222");
        drawing.text(x(*max) + 6.0, y + 15.0, Anchor::Start, 11, &number(*median));
    }
    drawing.finish()
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
const BARS: f64 = 480.0;
const TOP: f64 = 52.0;
const ROW: f64 = 24.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_belongs_to_the_largest_number() {
        let contenders =
            vec![Contender::new("busway", "1", vec![50.0]), Contender::new("a<b", "1", vec![100.0])];
        let suite = Suite {
            name: "inproc/1p1c".to_owned(),
            unit: "events/s".to_owned(),
            higher_is_better: true,
            note: String::new(),
            contenders,
            curves: Vec::new(),
        };
        let svg = plot(&suite);
        assert!(svg.contains(r##"width="240.0" height="16.0" fill="#d55e00""##), "{svg}");
        assert!(svg.contains(r#"width="480.0""#));
        assert!(svg.contains("a&lt;b"), "names are escaped");
    }
}
