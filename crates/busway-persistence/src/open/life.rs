//! The file that is there while a store is open: how the next opening knows that the last one did not end by itself.
//!
//! It names the opening, and which durable subscriptions are attended, a line for each that is taken up and one for each that is left. It is removed when the store is closed, so
//! one that is found says that a process died. It is never synced, and costs no commit: what it tells of is the death of a *process*,
//! after which the system still has what was written. After a power cut it may say anything; nothing is concluded from one that cannot
//! be read, and from one that is outdated no more than one death too many.
//!
//! | a process dies | then the next opening finds | and takes it for |
//! |---|---|---|
//! | before it has written the file | that of the opening before, or none | what that was |
//! | while it writes it | an empty or cut one | a death of which nothing is known |
//! | between that and its first subscription | its own, with no subscription | a death that concerns none |
//! | later | its own, with those that are attended | a death; what it means for each: [`attendance`](crate::attendance) |
//! | while it writes it anew, because it got long | an empty or cut one | a death of which nothing is known |
//! | while it closes, before the removal | the same | the same: what was stored counts as its progress |

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use uuid::Uuid;

use super::files;

/// An opening that did not end by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Death {
    /// Which it was; the nil one when its file cannot be read.
    pub(crate) opening: Uuid,
    /// The numbers of the subscriptions that were attended when it ended.
    pub(crate) attended: BTreeSet<u32>,
}

/// The file of the opening that goes on. It is removed with this value.
#[derive(Debug)]
pub(super) struct Life {
    path: PathBuf,
    /// `None` when it could not be made: then this opening leaves nothing behind. Locked by the writer's thread alone, but for the end.
    said: Mutex<Option<Said>>,
}

/// What the file says.
#[derive(Debug)]
struct Said {
    file: File,
    opening: Uuid,
    attended: BTreeSet<u32>,
    bytes: usize,
}

impl Life {
    /// Takes the place of the opening before, and says how that ended: `None`, when it was closed.
    pub(super) fn begin(dir: &Path, opening: Uuid) -> (Self, Option<Death>) {
        let path = dir.join(NAME);
        let before = match files::read(&path, BYTES_MAX) {
            Ok(None) => None,
            Ok(Some(bytes)) => Some(parse(&bytes).unwrap_or_default()),
            Err(_) => Some(Death::default()),
        };
        let file = begin_file(&path, opening);
        // A full disk must not keep a store closed over it.
        if let Err(error) = &file {
            tracing::debug!(path = %path.display(), %error, "a death of this process will not be noticed");
        }
        let said = file.ok().map(|(file, bytes)| Said { file, opening, attended: BTreeSet::new(), bytes });
        (Self { path, said: Mutex::new(said) }, before)
    }

    /// A subscription is attended from now on, or no longer.
    pub(super) fn attended(&self, number: u32, is_attended: bool) {
        let mut said = self.said.lock();
        let Some(said) = said.as_mut() else { return };
        if let Err(error) = said.attended(number, is_attended) {
            tracing::debug!(path = %self.path.display(), %error, "a death of this process may not be noticed");
        }
    }
}

impl Said {
    fn attended(&mut self, number: u32, is_attended: bool) -> io::Result<()> {
        let is_new = if is_attended { self.attended.insert(number) } else { self.attended.remove(&number) };
        if !is_new {
            return Ok(());
        }
        let line = if is_attended { format!("{number}\n") } else { format!("-{number}\n") };
        self.bytes += line.len();
        if self.bytes > BYTES_BEFORE_ANEW && self.bytes > LINE_BYTES_MAX * 2 * self.attended.len() {
            return self.write_anew();
        }
        // One call, so that a line is whole or missing.
        self.file.write_all(line.as_bytes())
    }

    /// Without those who have left: a program that takes subscriptions up and leaves them all day long has a short file.
    fn write_anew(&mut self) -> io::Result<()> {
        let mut text = format!("{HEAD}\n{}\n", self.opening).into_bytes();
        for number in &self.attended {
            writeln!(text, "{number}")?;
        }
        self.bytes = text.len();
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&text)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Err(error) = files::remove(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "this end will be taken for a death");
        }
    }
}

fn begin_file(path: &Path, opening: Uuid) -> io::Result<(File, usize)> {
    let mut file = files::create(path)?;
    let head = format!("{HEAD}\n{opening}\n");
    file.write_all(head.as_bytes())?;
    Ok((file, head.len()))
}

/// What a file says; a last line without an end was cut.
fn parse(bytes: &[u8]) -> Option<Death> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (whole, _) = text.rsplit_once('\n')?;
    let mut lines = whole.split('\n');
    if lines.next() != Some(HEAD) {
        return None;
    }
    let opening = Uuid::parse_str(lines.next()?).ok()?;
    let mut attended = BTreeSet::new();
    for line in lines {
        match line.strip_prefix('-') {
            Some(left) => _ = attended.remove(&left.parse::<u32>().ok()?),
            None => _ = attended.insert(line.parse::<u32>().ok()?),
        }
    }
    Some(Death { opening, attended })
}

/// The name of the file.
pub(super) const NAME: &str = "busway.open";
const HEAD: &str = "busway-open-1";
/// As much as is read of one: more subscriptions than a store has.
const BYTES_MAX: u64 = 16 << 20;
/// A line is a number of ten digits at most and an end.
const LINE_BYTES_MAX: usize = 11;
/// A page: a shorter file takes no less of the disk.
const BYTES_BEFORE_ANEW: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const OPENING: Uuid = Uuid::from_u128(0x0192_f0c1_2b3d_7e4f_8a5b_6c7d_8e9f_a0b1);

    #[test]
    fn the_bytes_of_the_file_are_those_of_version_one() {
        let dir = tempfile::tempdir().unwrap();
        let (life, before) = Life::begin(dir.path(), OPENING);
        assert_eq!(before, None);
        life.attended(3, true);
        life.attended(7, true);
        life.attended(3, true);
        life.attended(3, false);
        let golden = "busway-open-1\n0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1\n3\n7\n-3\n";
        assert_eq!(fs::read_to_string(dir.path().join(NAME)).unwrap(), golden);
        drop(life);
        assert!(!dir.path().join(NAME).exists(), "it ends by itself");
    }

    #[test]
    fn one_that_is_left_tells_of_a_death_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        fs::write(&path, "busway-open-1\n0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1\n3\n7\n9").unwrap();
        let (life, before) = Life::begin(dir.path(), Uuid::from_u128(1));
        assert_eq!(before, Some(Death { opening: OPENING, attended: [3, 7].into() }), "9 may be 90, cut");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "busway-open-1\n00000000-0000-0000-0000-000000000001\n"
        );
        drop(life);
    }

    #[test]
    fn nothing_is_concluded_from_one_that_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [&b""[..], b"busway-open-1\n", b"busway-open-2\nx\n", b"\0\0\0\n", &[0xff; 40]] {
            fs::write(dir.path().join(NAME), bytes).unwrap();
            let (life, before) = Life::begin(dir.path(), OPENING);
            assert_eq!(before, Some(Death::default()), "{bytes:?}");
            drop(life);
        }
        // Not even made: the store goes on without it.
        fs::create_dir(dir.path().join(NAME)).unwrap();
        let (life, before) = Life::begin(dir.path(), OPENING);
        life.attended(3, true);
        assert_eq!(before, Some(Death::default()));
    }

    #[test]
    fn who_has_left_is_not_concerned_and_the_file_stays_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let (life, _) = Life::begin(dir.path(), OPENING);
        life.attended(9, true);
        for number in (1_000..1_300).cycle().take(3_000) {
            life.attended(number, true);
            life.attended(number, false);
        }
        life.attended(4, true);
        assert!(fs::metadata(&path).unwrap().len() < 5_000);
        assert_eq!(
            parse(&fs::read(&path).unwrap()),
            Some(Death { opening: OPENING, attended: [4, 9].into() })
        );
        // Many at once are all named.
        (10_000..11_000).for_each(|number| life.attended(number, true));
        assert_eq!(parse(&fs::read(&path).unwrap()).unwrap().attended.len(), 1_002);
        drop(life);
    }
}
