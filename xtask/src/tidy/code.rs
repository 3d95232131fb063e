//! Rust source with everything that is not code blanked out, so that a rule finds `unsafe` where it is written and
//! not where it is talked about.
//!
//! Comments, and the insides of string and character literals, become spaces; line breaks stay, so line numbers
//! hold. It is a lexer of the literals only (Rust Reference, chapters "Comments" and "Tokens"), not a parser.

/// The source with comments and literals blanked out.
pub(crate) fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    let mut previous = ' ';
    while let Some(next) = rest.chars().next() {
        let (blank, length) = match length_of_non_code(rest, previous) {
            Some(length) => (true, length),
            None => (false, next.len_utf8()),
        };
        // A literal that never ends runs to the end of the file.
        let (token, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        if blank {
            code.extend(token.chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
        } else {
            code.push_str(token);
        }
        previous = token.chars().next_back().unwrap_or(next);
        rest = after;
    }
    code
}

/// The length in bytes of the comment or literal at the head of `rest`, if there is one.
fn length_of_non_code(rest: &str, previous: char) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest));
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    if is_word(previous) { None } else { raw_string(rest) }
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_u32;
    let mut position = 0;
    while let Some(tail) = rest.get(position..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with("/*") {
            depth += 1;
            position += 2;
        } else if tail.starts_with("*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return position;
            }
        } else {
            position += tail.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (position, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return position + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime and stays.
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        characters.next()?;
    }
    let (position, last) = characters.find(|&(_, character)| first != '\\' || character == '\'')?;
    (last == '\'').then_some(position + 1)
}

/// `r"…"`, `r#"…"#` and so on, with a `b` or `c` in front or not. `r#name` is an identifier and stays.
fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let open = body.trim_start_matches('#');
    let hashes = body.len() - open.len();
    let text = open.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let before = rest.len() - text.len();
    Some(text.find(&close).map_or(rest.len(), |end| before + end + close.len()))
}

/// Whether the character can be part of an identifier.
pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether `word` stands in the line as a word of its own, not as a part of a longer one.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line.get(..start).and_then(|text| text.chars().next_back());
        let after = line.get(start + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        code_only(source).split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn comments_are_blank_and_lines_keep_their_numbers() {
        let source = "a // b\n/* c\n /* d */ e */ f\n/// g";
        assert_eq!(words(source), ["a", "f"]);
        assert_eq!(code_only(source).lines().count(), source.lines().count());
    }

    #[test]
    fn strings_are_blank_whatever_their_form() {
        assert_eq!(words(r#"a "b \" c" d"#), ["a", "d"]);
        assert_eq!(words("a r\"b\\\" c"), ["a", "c"]);
        assert_eq!(words("a br##\"b \"# c\"## d"), ["a", "d"]);
        assert_eq!(words("a b\"c\" d"), ["a", "b", "d"]);
        assert_eq!(words("a r#type d"), ["a", "r#type", "d"]);
    }

    #[test]
    fn characters_are_blank_and_lifetimes_are_not() {
        assert_eq!(words(r"a '\'' b '\u{1b}' c '/' d"), ["a", "b", "c", "d"]);
        assert_eq!(
            words("fn f<'a>(x: &'a str) -> char { '\"' }").join(" "),
            "fn f<'a>(x: &'a str) -> char { }"
        );
    }

    #[test]
    fn what_never_ends_runs_to_the_end() {
        assert_eq!(words("a \"b c"), ["a"]);
        assert_eq!(words("a /* b /* c */"), ["a"]);
        assert_eq!(words("a r#\"b\" c"), ["a"]);
        assert_eq!(words("a '"), ["a", "'"]);
    }

    #[test]
    fn a_word_is_found_only_when_it_stands_alone() {
        assert!(has_word("pub unsafe fn", "unsafe"));
        assert!(!has_word("unsafe_code = deny", "unsafe"));
        assert!(!has_word("not_unsafe", "unsafe"));
        assert!(has_word("unsafe_code unsafe", "unsafe"));
    }
}
