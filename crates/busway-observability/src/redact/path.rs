//! Paths of fields: which of them are not shown.

use std::collections::BTreeSet;

/// The end of a field's path. Matches at any depth: `number` is every field of this name, `card.number` those within a `card`, `*.token` those within
/// anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Any name, or any place of a list.
    Any,
    /// A name as [`plain`] has it, or a place of a list.
    Name(String),
}

/// A step on the way to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Name(&'a str),
    /// A place of a list. A path need not say it.
    Place(usize),
}

impl Path {
    /// A dotted path, or a JSON pointer (RFC 6901), which begins with a slash and whose names may hold dots. `None`: it names nothing.
    pub(super) fn of(text: &str) -> Option<Self> {
        let names: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => {
                pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect()
            }
            None => text.split('.').map(str::to_owned).collect(),
        };
        let segments = names.iter().filter(|name| !plain(name).is_empty()).map(|name| match name.as_str() {
            "*" => Segment::Any,
            name => Segment::Name(plain(name)),
        });
        let segments: Vec<Segment> = segments.collect();
        segments.iter().any(|segment| *segment != Segment::Any).then_some(Self(segments))
    }

    /// Whether a field that is reached by these steps is meant.
    pub(super) fn is_of(&self, steps: &[Step<'_>]) -> bool {
        ends(&self.0, steps)
    }
}

/// Whether the steps end with the segments. Backwards, with all the ways that are open at once: a place of a list may be said or left out, and texts
/// nest as deep as who wrote them likes.
fn ends(segments: &[Segment], steps: &[Step<'_>]) -> bool {
    // Mostly the name is another one.
    if let (Some(Segment::Name(name)), Some(Step::Name(own))) = (segments.last(), steps.last())
        && !is_plain(name, own)
    {
        return false;
    }
    let mut left = BTreeSet::from([segments.len()]);
    for step in steps.iter().rev() {
        let meant = left.iter().filter_map(|left| {
            let before = left.checked_sub(1)?;
            segments.get(before).filter(|segment| segment.means(*step)).map(|_| before)
        });
        let meant: BTreeSet<usize> = meant.collect();
        match step {
            Step::Place(_) => left.extend(meant),
            Step::Name(_) => left = meant,
        }
        if left.contains(&0) {
            return true;
        }
        if left.is_empty() {
            return false;
        }
    }
    false
}

impl Segment {
    fn means(&self, step: Step<'_>) -> bool {
        match (self, step) {
            (Self::Any, _) => true,
            (Self::Name(name), Step::Name(own)) => is_plain(name, own),
            (Self::Name(name), Step::Place(place)) => name.parse() == Ok(place),
        }
    }
}

/// A name without the habits of who writes it: `Api-Key`, `api_key` and `apiKey` are one.
fn plain(name: &str) -> String {
    letters(name).collect()
}

fn is_plain(plain: &str, name: &str) -> bool {
    letters(name).eq(plain.chars())
}

fn letters(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|letter| !matches!(letter, '_' | '-' | ' ')).map(|letter| letter.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_of(path: &str, field: &str) -> bool {
        let step = |name| str::parse(name).map_or(Step::Name(name), Step::Place);
        let steps: Vec<Step<'_>> = field.split('.').map(step).collect();
        Path::of(path).unwrap().is_of(&steps)
    }

    #[test]
    fn a_path_is_the_end_of_the_way_to_a_field() {
        assert!(is_of("number", "number") && is_of("number", "order.card.number"));
        assert!(is_of("card.number", "order.card.number") && !is_of("card.number", "order.number"));
        assert!(is_of("*.token", "login.token") && !is_of("*.token", "token"));
        assert!(is_of("/card/number", "card.number") && !is_of("/card/number", "card.name"));
        assert!(is_of("api_key", "Api-Key") && is_of("apiKey", "api_key"));
    }

    #[test]
    fn places_of_lists_may_be_said_or_left_out() {
        assert!(is_of("cards.number", "cards.3.number") && is_of("/cards/3/number", "cards.3.number"));
        assert!(is_of("/cards/*/number", "cards.3.number") && !is_of("/cards/2/number", "cards.3.number"));
        assert!(is_of("tokens", "tokens.0"));
    }

    #[test]
    fn a_path_that_names_nothing_is_none() {
        assert!(["", ".", "*", "/", "*.*"].iter().all(|path| Path::of(path).is_none()));
        assert_eq!(Path::of("a..b"), Path::of("a.b"));
    }
}
