//! Where the lines and the characters of a text are.
//!
//! Each value of a file has a place, and a file may be one line of 4 MiB: what is asked here takes a time that does not go with the length of the line.

use std::ops::Range;

/// Lines and characters of a text, which it is given again each time.
#[derive(Debug)]
pub(crate) struct Index {
    lines: Vec<Line>,
    /// Characters that begin before each [`BLOCK`] of bytes.
    blocks: Vec<usize>,
}

/// The bytes of a line.
#[derive(Debug)]
struct Line {
    begin: u32,
    /// Without its end.
    end: u32,
    /// Without the spaces that it ends with, too.
    trimmed: u32,
}

impl Line {
    fn of(begin: usize, line: &str) -> Self {
        let as_u32 = |at| u32::try_from(at).unwrap_or(u32::MAX);
        let end = begin + line.trim_end_matches(['\n', '\r']).len();
        Self { begin: as_u32(begin), end: as_u32(end), trimmed: as_u32(begin + line.trim_end().len()) }
    }
}

const fn as_usize(at: u32) -> usize {
    at as usize
}

impl Index {
    pub(crate) fn of(text: &str) -> Self {
        let mut begin = 0;
        let line = |line: &str| {
            let own = Line::of(begin, line);
            begin += line.len();
            own
        };
        // What stands behind the last end is a line too, also when it is nothing.
        let last = (text.is_empty() || text.ends_with('\n')).then_some("");
        let lines = text.split_inclusive('\n').chain(last).map(line).collect();
        let count = |before: &mut usize, block: &[u8]| {
            let here = *before;
            *before += characters(block);
            Some(here)
        };
        let blocks = text.as_bytes().chunks(BLOCK).scan(0, count).collect();
        Self { lines, blocks }
    }

    /// The number of the line that a byte is in, from 1.
    pub(crate) fn line_at(&self, byte: usize) -> u32 {
        let line = self.lines.partition_point(|line| as_usize(line.begin) <= byte).max(1);
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    /// The bytes of a line without its end.
    pub(crate) fn line(&self, number: u32) -> Option<Range<usize>> {
        self.numbered(number).map(|line| as_usize(line.begin)..as_usize(line.end))
    }

    /// Those without the spaces that it ends with.
    pub(crate) fn trimmed(&self, number: u32) -> Option<Range<usize>> {
        self.numbered(number).map(|line| as_usize(line.begin)..as_usize(line.trimmed))
    }

    fn numbered(&self, number: u32) -> Option<&Line> {
        self.lines.get(as_usize(number).checked_sub(1)?)
    }

    /// Characters that begin in a range of bytes.
    pub(crate) fn characters(&self, text: &str, bytes: Range<usize>) -> usize {
        let end = self.before(text, bytes.end);
        end.saturating_sub(self.before(text, bytes.start))
    }

    /// Where so many characters of a line have ended, or the line has.
    pub(crate) fn byte_of(&self, text: &str, line: &Range<usize>, characters: usize) -> usize {
        let wanted = self.before(text, line.start).saturating_add(characters);
        // The last block before which there are no more.
        let block = self.blocks.partition_point(|before| *before <= wanted).saturating_sub(1);
        let left = wanted - self.blocks.get(block).copied().unwrap_or(wanted);
        let begin = block * BLOCK;
        let rest = text.as_bytes().get(begin..).unwrap_or_default();
        let mut starts = rest.iter().enumerate().filter(|(_, byte)| begins(**byte));
        let byte = starts.nth(left).map_or(text.len(), |(at, _)| begin + at);
        byte.clamp(line.start, line.end)
    }

    fn before(&self, text: &str, byte: usize) -> usize {
        let byte = byte.min(text.len());
        let Some(last) = self.blocks.len().checked_sub(1) else { return 0 };
        let block = (byte / BLOCK).min(last);
        let rest = text.as_bytes().get(block * BLOCK..byte).unwrap_or_default();
        self.blocks.get(block).copied().unwrap_or(0) + characters(rest)
    }
}

fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| begins(**byte)).count()
}

/// Whether a character begins with this byte.
const fn begins(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

const BLOCK: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_as_if_from_the_start_of_the_line() {
        let line: String = (0..3_000).map(|at| ['a', 'ß', '€', '😀'][at % 4]).collect();
        let text = format!("first\n{line}\r\n\nlast");
        let index = Index::of(&text);
        let bytes = index.line(2).unwrap();
        assert_eq!(text[bytes.clone()], line);
        for (count, (at, _)) in line.char_indices().enumerate() {
            let at = bytes.start + at;
            assert_eq!(index.characters(&text, bytes.start..at), count);
            assert_eq!(index.byte_of(&text, &bytes, count), at);
            assert_eq!(index.line_at(at), 2);
        }
        assert_eq!(index.byte_of(&text, &bytes, 3_000), bytes.end);
        assert_eq!(index.byte_of(&text, &bytes, usize::MAX), bytes.end);
        assert_eq!((index.line(3).unwrap().len(), index.line(5)), (0, None));
        assert_eq!(Index::of("a: b \t\r\n").trimmed(1), Some(0..4));
        assert_eq!((Index::of("").line(1), Index::of("a\n").line(2)), (Some(0..0), Some(2..2)));
        assert_eq!(Index::of("").characters("", 0..7), 0);
    }
}
