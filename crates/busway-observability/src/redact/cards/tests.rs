//! Cards among other numbers, beside a definition that tries every candidate.

use proptest::prelude::*;

use super::*;

/// Every range that is hidden, as [`Secret::hide`](super::super::Secret) goes through a text.
fn hidden(text: &str) -> Vec<(usize, usize)> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    while let Some(range) = next(text, at) {
        ranges.push(range);
        at = range.1;
    }
    ranges
}

fn shown(text: &str) -> String {
    super::super::Secret::CardNumber.hide(text).unwrap_or_else(|| text.to_owned())
}

#[test]
fn cards_are_found_beside_other_numbers() {
    for (text, expected) in [
        ("id 7 4111 1111 1111 1111", "id 7 ***"),
        ("4111111111111111 12", "*** 12"),
        ("4111111111111111-12", "***-12"),
        ("12-4111-1111-1111-1111", "12-***"),
        ("2026-11-27 4111111111111111 17", "2026-11-27 *** 17"),
        ("4111 1111 1111 1111 5500000000000004", "*** ***"),
        ("x7 4111 1111 1111 1111", "x7 ***"),
        ("3782 822463 10005 1 2", "*** 1 2"),
        ("99999999999999999999999 4111-1111-1111-1111 1", "99999999999999999999999 *** 1"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "***"),
        ("4111111111111111 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "*** 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
        ("4111\u{2014}4111111111111111", "4111\u{2014}***"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_card_stays_as_it_is() {
    for text in [
        "4111111111111112 12",
        "41111111111111111111111",
        "4111 1111 1111 1111a",
        "_4111 1111 1111 1111",
        "12 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "4111  1111  1111  1111",
        "4111.1111.1111.1111",
        "4111 1111 1111",
        "01939f3c-2f6e-7cc0-8000-0d3c1e9b6a01",
    ] {
        assert_eq!(shown(text), text);
    }
}

/// What is hidden, by trying each candidate: every way to begin and to end with a group.
fn defined(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let is_begin = |at: usize| is_digit(bytes.get(at)) && (at == 0 || !is_digit(bytes.get(at - 1)));
    let is_end = |at: usize| is_digit(bytes.get(at - 1)) && !is_digit(bytes.get(at));
    let mut cards = Vec::new();
    for from in (0..bytes.len()).filter(|at| is_begin(*at)) {
        for to in (from + 1..=bytes.len()).filter(|at| is_end(*at)) {
            if is_candidate(text, from, to) && is_checked(&text[from..to]) {
                cards.push((from, to));
            }
        }
    }
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (from, to) in cards {
        match ranges.last_mut() {
            Some(last) if from < last.1 => last.1 = last.1.max(to),
            _ => ranges.push((from, to)),
        }
    }
    ranges
}

fn is_candidate(text: &str, from: usize, to: usize) -> bool {
    let (before, inside, behind) = (&text[..from], &text[from..to], &text[to..]);
    let groups: Vec<&str> = inside.split([' ', '-']).collect();
    let is_joined = |group: &&str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    let digits: usize = groups.iter().map(|group| group.len()).sum();
    let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    let is_digit = |letter: char| letter.is_ascii_digit();
    let follows = before.strip_suffix([' ', '-']).is_some_and(|before| before.ends_with(is_digit));
    let goes_on = behind.strip_prefix([' ', '-']).is_some_and(|behind| behind.starts_with(is_digit));
    let is_printed = groups
        .iter()
        .rev()
        .skip(1)
        .rev()
        .enumerate()
        .all(|(at, group)| group.len() >= if at == 0 { 4 } else { 3 });
    groups.iter().all(is_joined)
        && (13..=19).contains(&digits)
        && inside.starts_with(['2', '3', '4', '5', '6'])
        && !before.ends_with(is_letter)
        && !behind.starts_with(is_letter)
        && (is_printed || !(follows || goes_on))
}

fn is_checked(text: &str) -> bool {
    let digits = text.chars().rev().filter_map(|letter| letter.to_digit(10));
    let weighed = digits.enumerate().map(|(place, digit)| match place % 2 {
        0 => digit,
        _ => digit * 2 / 10 + digit * 2 % 10,
    });
    weighed.sum::<u32>() % 10 == 0
}

/// The digits of a card, and how they are printed.
fn planted() -> impl Strategy<Value = String> {
    let layouts: &[&[usize]] =
        &[&[19], &[4, 4, 4, 4, 3], &[4, 6, 5, 4], &[6, 13], &[4, 4, 5, 6], &[4, 3, 3, 3, 6], &[8, 8, 3]];
    let digits = proptest::collection::vec(0_u8..10, 12..19);
    (2_u8..7, digits, proptest::sample::select(layouts), proptest::sample::select(&[" ", "-"][..])).prop_map(
        |(first, digits, layout, separator)| {
            let mut card: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
            card.replace_range(..1, &first.to_string());
            let check = (0..10).find(|check| is_checked(&format!("{card}{check}"))).unwrap();
            card += &check.to_string();
            let mut rest = &*card;
            let mut groups = Vec::new();
            for len in layout {
                let (group, behind) = rest.split_at((*len).min(rest.len()));
                groups.push(group);
                rest = behind;
            }
            groups.retain(|group| !group.is_empty());
            groups.join(separator)
        },
    )
}

/// Other numbers, each with what joins it to the next, or does not.
fn numbers() -> impl Strategy<Value = String> {
    let number = ("[0-9]{1,12}|[0-9]{20,30}", proptest::sample::select(&[" ", "-", ", ", "x ", ": "][..]));
    proptest::collection::vec(number, 0..6).prop_map(|numbers| {
        numbers.into_iter().flat_map(|(number, separator)| [number, separator.to_owned()]).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_card_is_hidden_whatever_numbers_stand_beside_it(
        before in numbers(),
        card in planted(),
        separator in proptest::sample::select(&[" ", "-", ", ", "\n", " #"][..]),
        behind in numbers(),
    ) {
        let text = format!("{before}{card}{separator}{behind}");
        let (from, to) = (before.len(), before.len() + card.len());
        let ranges = hidden(&text);
        let is_covered = ranges.iter().any(|range| range.0 <= from && to <= range.1);
        prop_assert!(is_covered, "{} at {} in {:?}", card, from, ranges);
    }

    #[test]
    fn what_is_hidden_is_what_the_definition_says(text in "([2-6]?[0-9]{1,5}[ -]{0,1}|[ax_,.]| {2}|[0-9]{13,21}){0,24}") {
        prop_assert_eq!(hidden(&text), defined(&text), "{}", text);
    }
}
