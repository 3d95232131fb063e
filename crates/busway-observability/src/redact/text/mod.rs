//! Finding fields in a text: JSON, what `{:?}` prints, `name=value`, `name: value`, one within the other.
//!
//! One pass from left to right that keeps the names of the brackets that are open. A string is a text of its own: what stands in it neither opens nor
//! closes anything outside. A string that is written inside of another is quoted with backslashes, one more level each: `"`, `\"`, `\\\"`.
//! In doubt more is hidden: a value without an end ends with the text.

#[cfg(test)]
mod tests;

use super::HIDDEN;
use super::path::{Path, Step};

/// Hides the values of the fields that are meant; `None`: there is none.
pub(super) fn hide(text: &str, paths: &[Path]) -> Option<String> {
    if paths.is_empty() {
        return None;
    }
    let mut scan = Scan {
        text,
        paths,
        at: 0,
        bound: 0,
        shown: String::new(),
        copied: 0,
        open: Vec::new(),
        strings: Vec::new(),
        name: None,
    };
    scan.run();
    (scan.copied > 0).then(|| scan.shown + text.get(scan.copied..).unwrap_or_default())
}

struct Scan<'a> {
    text: &'a str,
    paths: &'a [Path],
    at: usize,
    /// A word may begin here, whatever stands before.
    bound: usize,
    /// What is shown of the text up to `copied`.
    shown: String,
    copied: usize,
    open: Vec<Bracket<'a>>,
    strings: Vec<Inside>,
    /// The name whose value comes now.
    name: Option<&'a str>,
}

/// A bracket that is open.
struct Bracket<'a> {
    kind: u8,
    /// The field whose value it is.
    name: Option<&'a str>,
    /// The place in a list.
    place: usize,
}

/// A string that is being read.
struct Inside {
    /// Where its closing quote begins, and ends.
    end: (usize, usize),
    /// Brackets that were open before it.
    open: usize,
}

/// A quote: its mark, and how many backslashes stand before it.
#[derive(Clone, Copy)]
struct Quote {
    mark: u8,
    level: u32,
    /// Behind it.
    behind: usize,
}

impl<'a> Scan<'a> {
    fn run(&mut self) {
        while let Some(byte) = self.byte(self.at) {
            if self.leaves_string() {
                continue;
            }
            match byte {
                b'{' | b'[' | b'(' => {
                    let name = self.name.take();
                    self.open.push(Bracket { kind: byte, name, place: 0 });
                    self.at += 1;
                }
                b'}' | b']' | b')' => {
                    let floor = self.strings.last().map_or(0, |string| string.open);
                    self.open.truncate(self.open.len().saturating_sub(1).max(floor));
                    self.name = None;
                    self.at += 1;
                }
                b',' | b';' | b'&' => {
                    if let Some(bracket) = self.open.last_mut() {
                        bracket.place += 1;
                    }
                    self.name = None;
                    self.at += 1;
                }
                _ => self.word(),
            }
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// The end of what is read now: of the innermost string, or of the text.
    fn limit(&self) -> usize {
        self.strings.last().map_or(self.text.len(), |string| string.end.0)
    }

    fn leaves_string(&mut self) -> bool {
        let Some(Inside { end, open }) = self.strings.pop_if(|string| self.at >= string.end.0) else {
            return false;
        };
        self.open.truncate(open);
        self.name = None;
        self.at = self.at.max(end.1);
        true
    }

    /// A name, a string, an escape, or something else.
    fn word(&mut self) {
        match self.quote(self.at) {
            Ok(quote) => self.string(quote),
            Err(0) => self.bare(),
            Err(slashes) => {
                self.at = self.behind_escape(self.at + slashes);
                self.bound = self.at;
            }
        }
    }

    fn string(&mut self, quote: Quote) {
        let Some(end) = self.closing(quote) else {
            self.at = quote.behind;
            return;
        };
        let name = self.text.get(quote.behind..end.0).unwrap_or_default();
        match self.separator(end.1, true) {
            Some((separator, value)) => self.field(name, separator, value, Some(quote)),
            None => {
                self.strings.push(Inside { end, open: self.open.len() });
                self.at = quote.behind;
            }
        }
    }

    fn bare(&mut self) {
        if self.at != self.bound && self.follows_word(self.at) {
            self.at += 1;
            return;
        }
        let end = (self.at..self.limit()).find(|at| !self.byte(*at).is_some_and(is_word));
        let end = end.unwrap_or(self.limit());
        if end == self.at {
            self.at += 1;
            return;
        }
        let name = self.text.get(self.at..end).unwrap_or_default();
        match self.separator(end, false) {
            Some((separator, value)) => self.field(name, separator, value, None),
            None => self.at = end,
        }
    }

    fn follows_word(&self, at: usize) -> bool {
        at.checked_sub(1).and_then(|before| self.byte(before)).is_some_and(is_word)
    }

    /// A quote that opens a string here; else how many backslashes stand here. An apostrophe within a word is none.
    fn quote(&self, at: usize) -> Result<Quote, usize> {
        let slashes = (at..self.limit()).take_while(|at| self.byte(*at) == Some(b'\\')).count();
        let mark = match self.byte(at + slashes).filter(|_| at + slashes < self.limit()) {
            Some(b'\'') if slashes == 0 && self.follows_word(at) => None,
            mark => mark.filter(|byte| matches!(byte, b'"' | b'\'' | b'`')),
        };
        mark.map(|mark| Quote { mark, level: level(slashes), behind: at + slashes + 1 }).ok_or(slashes)
    }

    /// Behind what is escaped here: a word may begin there.
    fn behind_escape(&self, at: usize) -> usize {
        let digits = |from: usize, most: usize| {
            (from..from + most)
                .take_while(|at| self.byte(*at).is_some_and(|byte| byte.is_ascii_hexdigit()))
                .count()
        };
        let behind = match (self.byte(at), self.byte(at + 1)) {
            (Some(b'n' | b'r' | b't' | b'0'), _) => at + 1,
            (Some(b'u'), Some(b'{')) => at + 2 + digits(at + 2, 6) + 1,
            (Some(b'u'), _) => at + 1 + digits(at + 1, 4),
            _ => at,
        };
        behind.min(self.limit()).max(at)
    }

    /// Where the closing quote begins and ends.
    fn closing(&self, quote: Quote) -> Option<(usize, usize)> {
        let mut slashes = 0_usize;
        for at in quote.behind..self.limit() {
            match self.byte(at) {
                Some(b'\\') => slashes += 1,
                Some(byte) if byte == quote.mark && level(slashes) == quote.level => {
                    // Those of its own level belong to it, others are escaped ones of the text before.
                    return Some((at - ((1_usize << quote.level) - 1), at + 1));
                }
                _ => slashes = 0,
            }
        }
        None
    }

    /// What separates a name from its value, and where that begins: `:`, `=`, `=>`, and between the two of a pair a comma.
    fn separator(&self, at: usize, is_quoted: bool) -> Option<(u8, usize)> {
        let at = self.behind_spaces(at);
        let (found, next) = (self.byte(at).filter(|_| at < self.limit())?, self.byte(at + 1));
        match (found, next) {
            (b':', Some(b':')) => None,
            (b':', Some(b'=')) | (b'=', Some(b'=' | b'>')) => Some((b'=', self.behind_spaces(at + 2))),
            (b':' | b'=', _) => Some((found, self.behind_spaces(at + 1))),
            (b',', _)
                if is_quoted && self.open.last().is_some_and(|pair| pair.kind == b'(' && pair.place == 0) =>
            {
                Some((b',', self.behind_spaces(at + 1)))
            }
            _ => None,
        }
    }

    fn behind_spaces(&self, at: usize) -> usize {
        let is_space = |at: &usize| self.byte(*at).is_some_and(|byte| byte.is_ascii_whitespace());
        (at..self.limit()).find(|at| !is_space(at)).unwrap_or(self.limit().max(at))
    }

    /// A name with a value: hides it if it is meant.
    fn field(&mut self, name: &'a str, separator: u8, value: usize, quote: Option<Quote>) {
        if !self.is_meant(name) {
            (self.name, self.at) = (Some(name), value);
            return;
        }
        let (opened, end) = (self.quote(value).ok(), self.value_end(separator, value));
        // Spaces between a value and what closes are not its own.
        let end = value + self.text.get(value..end).map_or(end - value, |hidden| hidden.trim_end().len());
        self.shown.push_str(self.text.get(self.copied..value).unwrap_or_default());
        // A value that has quotes keeps them, and one behind a quoted name gets them, so that JSON stays JSON.
        let quotes = opened.or(quote.filter(|_| separator == b':'));
        for part in [quotes.map(mark), Some(HIDDEN.to_owned()), quotes.map(mark)].into_iter().flatten() {
            self.shown.push_str(&part);
        }
        (self.copied, self.at, self.name) = (end, end, None);
    }

    fn is_meant(&self, name: &str) -> bool {
        let mut steps = Vec::new();
        for bracket in self.open.iter().skip(self.open.len().saturating_sub(DEPTH_MAX)) {
            steps.extend(bracket.name.iter().flat_map(|name| name.split('.')).map(Step::Name));
            if bracket.kind == b'[' {
                steps.push(Step::Place(bracket.place));
            }
        }
        steps.extend(name.split('.').map(Step::Name));
        self.paths.iter().any(|path| path.is_of(&steps))
    }

    /// Where a value ends that is hidden.
    fn value_end(&self, separator: u8, value: usize) -> usize {
        let floor = self.strings.last().map_or(0, |string| string.open);
        let (limit, is_within, mut at, mut depth) = (self.limit(), self.open.len() > floor, value, 0_usize);
        while at < limit {
            match self.quote(at) {
                Ok(quote) => {
                    let Some((_, behind)) = self.closing(quote) else { return limit };
                    at = behind;
                    continue;
                }
                Err(slashes) => at += slashes,
            }
            match self.byte(at).filter(|_| at < limit) {
                Some(b'{' | b'[' | b'(') => depth += 1,
                Some(b'}' | b']' | b')') if depth == 0 && is_within => return at,
                Some(b'}' | b']' | b')') => depth = depth.saturating_sub(1),
                Some(b',' | b'\n' | b'\r') if depth == 0 => return at,
                Some(b';' | b'&') if depth == 0 && separator == b'=' => return at,
                Some(byte) if depth == 0 && separator == b'=' && byte.is_ascii_whitespace() => {
                    let next = self.behind_spaces(at);
                    let goes_on = matches!(self.byte(next), Some(b'{' | b'[' | b'('));
                    if !goes_on && !is_scheme(self.text.get(value..at).unwrap_or_default()) {
                        return at;
                    }
                    at = next;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        limit
    }
}

/// The level of a quote with so many backslashes before it. Of a string at level *n* each backslash of its text is written as 2ⁿ⁺¹, and its
/// own quotes have 2ⁿ − 1: the trailing ones of the number tell the level.
const fn level(slashes: usize) -> u32 {
    slashes.trailing_ones()
}

fn mark(quote: Quote) -> String {
    let mut mark = "\\".repeat((1_usize << quote.level) - 1);
    mark.push(char::from(quote.mark));
    mark
}

/// What a name may consist of: every character outside of ASCII may.
const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'$' | b'@') || byte >= 0x80
}

/// A word that the credentials of a header begin with.
fn is_scheme(word: &str) -> bool {
    SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Brackets of which the names count: deeper than JSON is read.
const DEPTH_MAX: usize = 128;
const SCHEMES: [&str; 5] = ["basic", "bearer", "digest", "negotiate", "token"];
