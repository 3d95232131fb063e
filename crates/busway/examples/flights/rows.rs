//! Reading departures from a CSV file, plain or compressed. A malformed row is a value, never the end of the run.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use busway::Topic;
use csv::{ReaderBuilder, StringRecord};
use indicatif::ProgressBar;
use liblzma::read::XzDecoder;

use crate::flight::{Flight, Status};

/// The rows of a file, one after the other. A row is a line: a stray quote spoils its own row, not those behind it.
pub(crate) struct Rows {
    lines: Lines,
    /// `None` in an empty file: it has no rows, so no column is missing.
    columns: Option<Columns>,
}

/// One row.
pub(crate) enum Row {
    Flight { line: u64, flight: Flight },
    Bad { line: u64, reason: String },
}

impl Rows {
    /// Opens a file and finds its columns. `progress` is told how many bytes the file has, and moves with those read.
    pub(crate) fn open(path: &Path, progress: &ProgressBar) -> Result<Self, ReadError> {
        let mut lines = Lines::open(path, progress)?;
        let header = lines.next_line()?.map(|line| fields(line).unwrap_or_default());
        let columns = header.map(|header| Columns::find(path, &header)).transpose()?;
        Ok(Self { lines, columns })
    }

    /// The next row, `None` at the end.
    pub(crate) fn next_row(&mut self) -> Result<Option<Row>, ReadError> {
        let Some(columns) = &self.columns else { return Ok(None) };
        let Some(text) = self.lines.next_line()? else { return Ok(None) };
        let flight = fields(text).and_then(|record| columns.flight(&record));
        let line = self.lines.number;
        Ok(Some(match flight {
            Ok(flight) => Row::Flight { line, flight },
            Err(reason) => Row::Bad { line, reason },
        }))
    }
}

/// The lines of a file, empty ones left out.
struct Lines {
    file: PathBuf,
    bytes: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    fn open(path: &Path, progress: &ProgressBar) -> Result<Self, ReadError> {
        let open_error = |source| ReadError::Open { file: path.to_owned(), source };
        #[expect(clippy::disallowed_methods, reason = "the example reads its input")]
        let file = File::open(path).map_err(open_error)?;
        progress.set_length(file.metadata().map_err(open_error)?.len());
        // Of a compressed file the bytes as they lie on the disk: their number is known from the start.
        let file = progress.wrap_read(file);
        let bytes: Box<dyn BufRead + Send> =
            match path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("xz")) {
                true => Box::new(BufReader::new(XzDecoder::new_multi_decoder(file))),
                false => Box::new(BufReader::new(file)),
            };
        Ok(Self { file: path.to_owned(), bytes, line: Vec::new(), number: 0 })
    }

    /// The next line without its end; of one that is too long, what was read of it.
    fn next_line(&mut self) -> Result<Option<&[u8]>, ReadError> {
        loop {
            self.number += 1;
            if !self.read().map_err(|source| self.broken(source))? {
                return Ok(None);
            }
            // It may stand at the beginning of a file and nowhere else.
            if self.number == 1 && self.line.starts_with(UTF8_MARK) {
                self.line.drain(..UTF8_MARK.len());
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(&self.line));
            }
        }
    }

    /// Reads a line, and throws away what is beyond the limit. `false` at the end of the file.
    fn read(&mut self) -> io::Result<bool> {
        self.line.clear();
        let limit = LINE_BYTES_MAX + 1;
        let mut read = (&mut self.bytes).take(limit).read_until(b'\n', &mut self.line)?;
        let any = read > 0;
        let mut rest = Vec::new();
        let mut last = self.line.last().copied();
        while read as u64 == limit && last != Some(b'\n') {
            rest.clear();
            read = (&mut self.bytes).take(limit).read_until(b'\n', &mut rest)?;
            last = rest.last().copied();
        }
        Ok(any)
    }

    fn broken(&self, source: io::Error) -> ReadError {
        ReadError::Broken { file: self.file.clone(), line: self.number, source }
    }
}

/// The fields of a line.
fn fields(line: &[u8]) -> Result<StringRecord, String> {
    if line.len() as u64 > LINE_BYTES_MAX {
        return Err(format!("the row has more than {LINE_BYTES_MAX} bytes"));
    }
    let text =
        std::str::from_utf8(line).map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to()))?;
    let text = text.trim_end();
    if !text.contains('"') {
        return Ok(text.split(',').collect());
    }
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let record = reader.records().next().and_then(Result::ok);
    record.ok_or_else(|| "the row cannot be read".to_owned())
}

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
/// A real row has about a hundred bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Where the needed columns stand.
struct Columns {
    dep_time: usize,
    dep_delay: usize,
    carrier: usize,
    tailnum: usize,
    origin: usize,
    count: usize,
}

impl Columns {
    fn find(file: &Path, headers: &StringRecord) -> Result<Self, ReadError> {
        let find = |name: &'static str| {
            let at = headers.iter().position(|header| header == name);
            at.ok_or_else(|| ReadError::NoColumn { file: file.to_owned(), name })
        };
        Ok(Self {
            dep_time: find("dep_time")?,
            dep_delay: find("dep_delay")?,
            carrier: find("carrier")?,
            tailnum: find("tailnum")?,
            origin: find("origin")?,
            count: headers.len(),
        })
    }

    fn flight(&self, record: &StringRecord) -> Result<Flight, String> {
        if record.len() != self.count {
            return Err(format!("the row has {} fields, the header has {}", record.len(), self.count));
        }
        let field = |at: usize| record.get(at).unwrap_or_default().trim();
        let status = match field(self.dep_time) {
            "NA" => Status::Cancelled,
            time => {
                departure_time(time)?;
                Status::of_delay(delay_minutes(field(self.dep_delay))?)
            }
        };
        let tail_number = match field(self.tailnum) {
            "NA" | "" => "unknown".to_owned(),
            // The key of an event has at most 255 bytes.
            tail if tail.len() <= 255 => tail.to_owned(),
            tail => return Err(format!("tailnum has {} bytes, more than 255", tail.len())),
        };
        Ok(Flight {
            carrier: segment("carrier", field(self.carrier))?,
            origin: segment("origin", field(self.origin))?,
            tail_number,
            status,
        })
    }
}

/// A time of day as `HHMM` without leading zeros; 2400 is midnight.
fn departure_time(text: &str) -> Result<(), String> {
    let wrong = || format!("dep_time {text:?} is no time of day (HHMM) and not NA");
    // Rust reads "+517" as a number too.
    let digits = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let time: u16 = text.parse().map_err(|_| wrong())?;
    if digits && time <= 2400 && time % 100 < 60 { Ok(()) } else { Err(wrong()) }
}

/// Whole minutes, negative when the flight left early.
fn delay_minutes(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    let minutes = text.parse().ok().filter(|_| digits);
    minutes.ok_or_else(|| format!("dep_delay {text:?} is no number of minutes"))
}

/// A code in lower case, which must be able to stand in a topic.
fn segment(column: &str, code: &str) -> Result<String, String> {
    let code = code.to_lowercase();
    match Topic::new(&code) {
        Ok(topic) if topic.depth() == 1 && code.len() <= SEGMENT_BYTES_MAX && code != "na" => Ok(code),
        _ => Err(format!("{column} {code:?} is no code")),
    }
}

/// A topic has at most 255 bytes; real codes have two or three.
const SEGMENT_BYTES_MAX: usize = 32;

/// Why a file cannot be read to its end.
#[derive(Debug)]
pub(crate) enum ReadError {
    Open { file: PathBuf, source: io::Error },
    NoColumn { file: PathBuf, name: &'static str },
    Broken { file: PathBuf, line: u64, source: io::Error },
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open { file, source } => {
                write!(f, "{} cannot be opened: {source}; give a .csv or .csv.xz with --data", file.display())
            }
            Self::NoColumn { file, name } => {
                write!(f, "{} has no column {name}: it needs the header of the shipped file", file.display())
            }
            Self::Broken { file, line, source } => {
                write!(f, "{} breaks off at line {line}: {source}; is the file whole?", file.display())
            }
        }
    }
}

impl std::error::Error for ReadError {}
