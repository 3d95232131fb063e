//! Numbers of payment cards, alone or among other numbers.
//!
//! A text is read as groups of digits; groups with a single space or dash between them are joined. A *candidate* is one group, or joined ones in a row, of 13 to 19 digits in all, of which the
//! first is 2 to 6, and with neither letter nor `_` beside it. Of several groups the first has at least 4 digits, those behind it at least 3, and the last any number, as cards are printed
//! (4-4-4-4, 4-6-5, 6-13, 4-4-4-4-3); a candidate to which nothing else is joined may have groups of any size. A candidate whose last digit checks the others (Luhn, ISO/IEC 7812-1 annex B) is hidden, and so is
//! each that overlaps with it.
//!
//! **Hidden in error**: one in ten of all numbers with as many digits and such a first one, be it an id, an amount or the digits behind a point. **Shown in error**: a card whose groups are separated by
//! anything else (two spaces, dots, line ends), that is within a longer group of digits or beside a letter, or that is written in pairs with other numbers joined to it.
//!
//! The work is bounded by the length of the text: of each group at most 20 digits are looked at, once as a beginning and once for each of few groups before it.

use std::ops::RangeInclusive;

/// Where the next one lies, with what overlaps: from a place on that is not within a group.
pub(super) fn next(text: &str, mut at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut found: Option<(usize, usize)> = None;
    while let Some(begin) = digit_from(bytes, at) {
        if found.is_some_and(|(_, end)| end <= begin) {
            break;
        }
        if let Some(end) = card(bytes, begin) {
            found = Some(found.map_or((begin, end), |(from, to)| (from, to.max(end))));
        }
        at = begin + digits(bytes, begin, usize::MAX);
    }
    found
}

/// The end of the longest card that begins with this group.
fn card(bytes: &[u8], begin: usize) -> Option<usize> {
    let before = begin.checked_sub(1).and_then(|before| bytes.get(before));
    if is_letter(before) || !bytes.get(begin).is_some_and(|first| FIRST.contains(first)) {
        return None;
    }
    let is_joined = is_separator(before) && begin.checked_sub(2).is_some_and(|at| is_digit(bytes.get(at)));
    let (mut check, mut longest) = (Check::default(), None);
    let (mut at, mut is_printed, mut is_first) = (begin, true, true);
    loop {
        let len = digits(bytes, at, DIGITS_MAX + 1);
        check.read(bytes.get(at..at + len)?);
        if check.len > DIGITS_MAX {
            return longest;
        }
        at += len;
        let goes_on = is_separator(bytes.get(at)) && is_digit(bytes.get(at + 1));
        let may_be = is_printed || (!is_joined && !goes_on);
        if may_be && check.len >= DIGITS_MIN && check.is_good() && !is_letter(bytes.get(at)) {
            longest = Some(at);
        }
        if !goes_on {
            return longest;
        }
        is_printed &= len >= if is_first { GROUP_FIRST_MIN } else { GROUP_MIN };
        is_first = false;
        at += 1;
    }
}

/// The check of ISO/IEC 7812-1, annex B, of digits that come from the left: which of them are doubled the last one decides.
#[derive(Default)]
struct Check {
    len: usize,
    /// With the last digit as it is, and with it doubled.
    sums: (u32, u32),
}

impl Check {
    fn read(&mut self, digits: &[u8]) {
        for byte in digits {
            let digit = u32::from(byte - b'0');
            let doubled = if digit > 4 { digit * 2 - 9 } else { digit * 2 };
            self.sums = (self.sums.1 + digit, self.sums.0 + doubled);
        }
        self.len += digits.len();
    }

    const fn is_good(&self) -> bool {
        self.sums.0.is_multiple_of(10)
    }
}

fn digit_from(bytes: &[u8], at: usize) -> Option<usize> {
    let found = bytes.get(at..)?.iter().position(u8::is_ascii_digit)?;
    Some(at + found)
}

/// How many digits stand here, counted up to so many.
fn digits(bytes: &[u8], at: usize, most: usize) -> usize {
    bytes.iter().skip(at).take(most).take_while(|byte| byte.is_ascii_digit()).count()
}

fn is_digit(byte: Option<&u8>) -> bool {
    byte.is_some_and(u8::is_ascii_digit)
}

fn is_letter(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
}

const fn is_separator(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b' ' | b'-'))
}

/// Of the networks that issue cards for payments.
const FIRST: RangeInclusive<u8> = b'2'..=b'6';
const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;
/// The shortest groups that cards are printed in: lists of small numbers are no cards.
const GROUP_FIRST_MIN: usize = 4;
const GROUP_MIN: usize = 3;

#[cfg(test)]
mod tests;
