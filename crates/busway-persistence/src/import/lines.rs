//! Reading lines, none of which may take more memory than an event's.

use std::io::{self, BufRead, Read as _};

/// What was found where a line begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing but white space.
    Empty,
    /// The seal of an archive's file: no event.
    Seal,
    /// More than [`LINE_BYTES_MAX`]; all of it was passed over.
    TooLong,
    Text(Vec<u8>),
}

/// The next line, without its break; `None` at the end.
pub(super) fn next_line(reader: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut text = Vec::new();
    let limit = LINE_BYTES_MAX as u64 + 1;
    if reader.by_ref().take(limit).read_until(b'\n', &mut text)? == 0 {
        return Ok(None);
    }
    if text.last() == Some(&b'\n') {
        text.pop();
    } else if text.len() > LINE_BYTES_MAX {
        pass_over(reader)?;
        return Ok(Some(Line::TooLong));
    }
    Ok(Some(match text.trim_ascii_start() {
        [] => Line::Empty,
        start if start.starts_with(crate::import::SEAL_START) => Line::Seal,
        _ => Line::Text(text),
    }))
}

/// Reads to behind the next line break.
fn pass_over(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffered = reader.fill_buf()?;
        let found = buffered.iter().position(|&byte| byte == b'\n');
        let used = found.map_or(buffered.len(), |at| at + 1);
        if used == 0 {
            return Ok(());
        }
        reader.consume(used);
        if found.is_some() {
            return Ok(());
        }
    }
}

/// Bytes of a line: a payload of 1 MiB in base64, and all else that an event may carry, escaped.
pub const LINE_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_the_next_one_is_read() {
        let mut input = vec![b'x'; LINE_BYTES_MAX + 5];
        input.extend(b"\n\r\n  {} \n{\"buswayseal\":1}\nlast");
        let mut reader = BufReader::with_capacity(1_000, &input[..]);
        let mut next = || next_line(&mut reader).unwrap();
        assert_eq!(next(), Some(Line::TooLong));
        assert_eq!(next(), Some(Line::Empty));
        assert_eq!(next(), Some(Line::Text(b"  {} ".to_vec())));
        assert_eq!(next(), Some(Line::Seal));
        assert_eq!(next(), Some(Line::Text(b"last".to_vec())));
        assert_eq!(next(), None);
    }

    #[test]
    fn a_line_of_the_longest_length_is_one() {
        for (len, fits) in [(LINE_BYTES_MAX, true), (LINE_BYTES_MAX + 1, false)] {
            let mut input = vec![b'x'; len];
            input.push(b'\n');
            let line = next_line(&mut &input[..]).unwrap();
            assert_eq!(matches!(line, Some(Line::Text(_))), fits);
        }
    }
}
