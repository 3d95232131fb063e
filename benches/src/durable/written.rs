//! How many bytes a process has written, as the kernel counts them.

use std::fs;

/// Bytes written by all threads of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Sent to the disk, or to be sent (`write_bytes`): whole pages, and where the kernel keeps several of them as one folio, all
    /// of these.
    pub to_disk: u64,
    /// Handed to calls that write (`wchar`).
    pub by_calls: u64,
}

impl Written {
    /// Since the process began; `None` where the system does not count.
    #[must_use]
    pub fn so_far() -> Option<Self> {
        Self::in_text(&fs::read_to_string("/proc/self/io").ok()?)
    }

    /// The same of another process, since it began.
    #[must_use]
    pub fn by(pid: u32) -> Option<Self> {
        Self::in_text(&fs::read_to_string(format!("/proc/{pid}/io")).ok()?)
    }

    /// What came after `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            to_disk: self.to_disk.saturating_sub(earlier.to_disk),
            by_calls: self.by_calls.saturating_sub(earlier.by_calls),
        }
    }

    fn in_text(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value?.trim().parse().ok()
        };
        Some(Self { to_disk: field("write_bytes")?, by_calls: field("wchar")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_counts_are_read_by_their_names() {
        let text = "rchar: 1\nwchar: 22\nsyscr: 3\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n";
        let written = Written::in_text(text).unwrap();
        assert_eq!(written, Written { to_disk: 4_096, by_calls: 22 });
        assert_eq!(Written::in_text("rchar: 1\n"), None);
        let earlier = Written { to_disk: 4_000, by_calls: 2 };
        assert_eq!(written.since(earlier), Written { to_disk: 96, by_calls: 20 });
    }
}
