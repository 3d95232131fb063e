//! The capability matrix as a page: a table with a column for each transport, of which each suite keeps its own.

use std::fmt::Write as _;

use busway_engine::transport::Capability;

use super::Report;

impl Report {
    /// The page with this report's column as the report says it; all other columns, and the text around the table, stay as they are. A page without a table gets
    /// one at its end.
    #[must_use]
    pub fn written_into(&self, page: &str, column: &str) -> String {
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with('|')).collect();
        let mut table = Table::read(&rows);
        table.set(column, self.matrix());
        let mut written = String::new();
        let mut is_written = false;
        for line in page.lines() {
            match line.starts_with('|') {
                false => _ = writeln!(written, "{line}"),
                true if is_written => {}
                true => {
                    is_written = true;
                    written.push_str(&table.to_string());
                }
            }
        }
        if !is_written {
            written.push_str(&table.to_string());
        }
        written
    }

    /// Holds a page against this report: its column has to say what the report says. With the environment variable `UPDATE` it is written anew instead.
    ///
    /// # Panics
    /// When the page says something else, or cannot be written.
    pub fn assert_documented(&self, page: impl AsRef<std::path::Path>, column: &str) {
        let page = page.as_ref();
        let found = std::fs::read_to_string(page).unwrap_or_default();
        let wanted = self.written_into(&found, column);
        if std::env::var_os("UPDATE").is_some() {
            let written = std::fs::write(page, &wanted);
            assert!(written.is_ok(), "{} cannot be written: {written:?}", page.display());
            return;
        }
        assert!(
            found == wanted,
            "{}: what it says of {column} is not what the suite found; run the test with UPDATE=1 to write it anew",
            page.display()
        );
    }
}

/// The table of a page: its columns by name, each with a cell a capability.
struct Table(Vec<(String, Vec<String>)>);

impl Table {
    fn read(rows: &[&str]) -> Self {
        let cells = |row: &str| -> Vec<String> {
            row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let Some((head, rest)) = rows.split_first() else { return Self(Vec::new()) };
        // The line under the head says nothing.
        let body: Vec<Vec<String>> = rest.iter().skip(1).map(|row| cells(row)).collect();
        let names = cells(head).into_iter().skip(1);
        let column = |(place, name): (usize, String)| {
            let of = |capability: Capability| {
                let row = body.iter().find(|row| row.first().is_some_and(|first| first == capability.name()));
                row.and_then(|row| row.get(place + 1)).cloned().unwrap_or_default()
            };
            (name, Capability::ALL.into_iter().map(of).collect())
        };
        Self(names.enumerate().map(column).collect())
    }

    fn set(&mut self, column: &str, matrix: Vec<(Capability, String)>) {
        let cells = matrix.into_iter().map(|(_, ability)| ability.replace('|', "/")).collect();
        match self.0.iter_mut().find(|(name, _)| name == column) {
            Some((_, old)) => *old = cells,
            None => self.0.push((column.to_owned(), cells)),
        }
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        fn line<'a>(
            f: &mut std::fmt::Formatter<'_>,
            first: &str,
            cells: impl Iterator<Item = &'a str>,
        ) -> std::fmt::Result {
            write!(f, "| {first} |")?;
            for cell in cells {
                write!(f, " {cell} |")?;
            }
            writeln!(f)
        }
        line(f, "", self.0.iter().map(|(name, _)| name.as_str()))?;
        writeln!(f, "|---|{}", "---|".repeat(self.0.len()))?;
        for (place, capability) in Capability::ALL.into_iter().enumerate() {
            let cells = self.0.iter().map(|(_, cells)| cells.get(place).map_or("", String::as_str));
            line(f, capability.name(), cells)?;
        }
        Ok(())
    }
}
