//! What is wrong with a configuration: everything at once, each with its place.

use std::any::Any;
use std::fmt;

use crate::source::Place;

/// Why a configuration was not taken: everything that is wrong with it, in the order of its lines. `Display` is for people:
///
/// ```text
/// busway.yaml:4:5: unknown field "concurency" of a route
///   |
/// 4 |     concurency: 8
///   |     ^^^^^^^^^^
///   = help: did you mean "concurrency"?
/// ```
///
/// Texts of the file are escaped in it, so that they cannot write into a log or a terminal what they are not. What stands behind a name as `password`
/// or `api_key` is hidden, but for its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
    left_out: usize,
}

impl ConfigError {
    pub(crate) fn of(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| {
            problem.place.as_ref().map(|place| (place.file().to_owned(), place.line(), place.column()))
        });
        let left_out = problems.len().saturating_sub(PROBLEMS_MAX);
        problems.truncate(PROBLEMS_MAX);
        Self { problems, left_out }
    }

    pub(crate) fn without_place(message: String) -> Self {
        Self::of(vec![Problem::without_place(message)])
    }

    /// `Ok` when nothing is wrong.
    pub(crate) fn unless_empty(problems: Vec<Problem>) -> Result<(), Self> {
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Self::of(problems)),
        }
    }

    /// All problems; of more than 1,000 the first ones.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// As many as there are beyond those.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{problem}")?;
        }
        match self.left_out {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    message: String,
    place: Option<Place>,
    hint: Option<String>,
}

impl Problem {
    pub(crate) fn at(place: &Place, message: impl Into<String>) -> Self {
        Self { message: message.into(), place: Some(place.clone()), hint: None }
    }

    pub(crate) fn without_place(message: String) -> Self {
        Self { message, place: None, hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Where and what, without the line that it is in.
    pub(crate) fn in_a_line(&self) -> String {
        match &self.place {
            Some(place) => format!("{place}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where; `None` when it is the file as a whole.
    #[must_use]
    pub const fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else {
            f.write_str(&self.message)?;
            return match &self.hint {
                Some(hint) => write!(f, "\n  = help: {hint}"),
                None => Ok(()),
            };
        };
        write!(f, "{place}: {}", self.message)?;
        let number = place.line().to_string();
        let margin = " ".repeat(number.len());
        if let Some((shown, before, width)) = cropped(place) {
            write!(f, "\n{margin} |\n{number} | {shown}\n{margin} | ")?;
            write!(f, "{}{}", " ".repeat(before), "^".repeat(width))?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n{margin} = help: {hint}"),
            None => Ok(()),
        }
    }
}

/// As much of a line as people want to see, escaped; how far the marked part is in, and how wide it is.
fn cropped(place: &Place) -> Option<(String, usize, usize)> {
    let column = usize::try_from(place.column()).unwrap_or(usize::MAX) - 1;
    let width = usize::try_from(place.width()).unwrap_or(usize::MAX);
    let window = place.window(column.saturating_sub(CONTEXT), 2 * CONTEXT)?;
    let (mut shown, mut before, mut marked) = (String::new(), 0, 0);
    if window.from > 0 {
        shown.push('…');
        before = 1;
    }
    for (at, character) in window.text.chars().enumerate() {
        let at = at + window.from;
        let text = match character {
            // One column wide, as it is counted.
            '\t' => " ".to_owned(),
            other => escaped(other.encode_utf8(&mut [0; 4])),
        };
        let wide = text.chars().count();
        if at < column {
            before += wide;
        } else if at - column < width {
            marked += wide;
        }
        shown.push_str(&text);
    }
    if window.goes_on {
        shown.push('…');
    }
    Some((shown, before, marked.clamp(1, 2 * CONTEXT)))
}

/// A text of the user's, so that it cannot be taken for something else: control characters and directions are escaped. At most 256 characters.
pub(crate) fn escaped(text: &str) -> String {
    // Most are short and plain.
    if text.len() <= SHOWN_MAX && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len().min(SHOWN_MAX));
    for character in text.chars().take(SHOWN_MAX) {
        match character.is_control() || is_misleading(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Says of code of somebody else's that it panicked, and with which text.
pub(crate) fn panicked(who: &str, panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("{who} panicked: {}", escaped(text.unwrap_or("it does not say why")))
}

/// Characters that turn the direction of a text, or are not seen at all.
const fn is_misleading(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `did you mean "concurrency"?`, when one of the names is close.
pub(crate) fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let given = given.to_ascii_lowercase();
    if given.chars().count() > NAME_MAX {
        return None;
    }
    let near = known.into_iter().filter_map(|name| {
        let far = distance(&given, &name.to_ascii_lowercase());
        (far <= 1.max(name.len() / 3)).then_some((far, name))
    });
    near.min().map(|(_, name)| format!("did you mean \"{}\"?", escaped(name)))
}

/// How many characters have to be added, left out, changed or swapped with their neighbour (optimal string alignment).
fn distance(one: &str, two: &str) -> usize {
    let (one, two): (Vec<char>, Vec<char>) = (one.chars().collect(), two.chars().take(NAME_MAX).collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=two.len()).collect();
    for (row, from) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, to) in two.iter().enumerate() {
            let at = |line: &[usize], place: usize| line.get(place).copied().unwrap_or(usize::MAX / 2);
            let changed = at(&last, column) + usize::from(from != to);
            let mut best = changed.min(at(&last, column + 1) + 1).min(at(&line, column) + 1);
            let is_swapped =
                row > 0 && column > 0 && one.get(row - 1) == Some(to) && two.get(column - 1) == Some(from);
            if is_swapped {
                best = best.min(at(&before_last, column - 1) + 1);
            }
            line.push(best);
        }
        before_last = std::mem::replace(&mut last, line);
    }
    last.last().copied().unwrap_or(0)
}

/// Nobody reads more, and a hostile file must not make more.
pub(crate) const PROBLEMS_MAX: usize = 1_000;
const SHOWN_MAX: usize = 256;
const NAME_MAX: usize = 64;
/// Characters of a line shown before the place, and as many behind.
const CONTEXT: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    #[test]
    fn a_problem_shows_its_line_a_caret_and_a_hint() {
        let source = Source::new("busway.yaml", "routes:\n  stock:\n    concurency: 8\n");
        let place = source.place_at(3, 5, 10);
        let problem =
            Problem::at(&place, "unknown field \"concurency\"").hint("did you mean \"concurrency\"?");
        let expected = "busway.yaml:3:5: unknown field \"concurency\"\n  |\n3 |     concurency: 8\n  |     ^^^^^^^^^^\n  = help: did you mean \"concurrency\"?";
        assert_eq!(problem.to_string(), expected);
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_escaped_and_the_caret_stays_below_it() {
        let source = Source::new("a\n.yaml", "\u{1b}[31m: x\u{202e}y");
        let shown = Problem::at(&source.place_at(1, 8, 3), "no").to_string();
        assert_eq!(shown, "a\\n.yaml:1:8: no\n  |\n1 | \\u{1b}[31m: x\\u{202e}y\n  |             ^^^^^^^^^^");
    }

    #[test]
    fn long_lines_are_cropped_around_the_place() {
        let line = format!("{}x{}", "a".repeat(5_000), "b".repeat(5_000));
        let source = Source::new("long.json", line);
        let shown = Problem::at(&source.place_at(1, 5_001, 1), "no").to_string();
        assert!(shown.len() < 400, "{}", shown.len());
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[2].chars().nth(lines[3].chars().count() - 1), Some('x'));
    }

    #[test]
    fn a_name_that_is_close_is_offered_and_one_that_is_not_is_not() {
        let known = ["concurrency", "capacity", "retry"];
        assert_eq!(did_you_mean("Concurency", known).as_deref(), Some("did you mean \"concurrency\"?"));
        assert_eq!(did_you_mean("rerty", known).as_deref(), Some("did you mean \"retry\"?"));
        assert_eq!(did_you_mean("handler", known), None);
        assert_eq!(did_you_mean(&"x".repeat(100_000), known), None);
    }
}
