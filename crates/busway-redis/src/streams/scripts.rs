//! The scripts of the transport: one for each step that nobody may come between.

use redis::Script;

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) prepare: Script,
    pub(super) join: Script,
    /// As text, without its comments: in a transaction it is too late when the server says that it does not know a digest.
    pub(super) remember: String,
    pub(super) trim: Script,
    pub(super) fetch: Script,
    pub(super) done: Script,
    pub(super) settle: Script,
    pub(super) leave: Script,
    pub(super) remove: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            prepare: Script::new(include_str!("script/prepare.lua")),
            join: Script::new(include_str!("script/join.lua")),
            remember: bare(include_str!("script/remember.lua")),
            trim: Script::new(include_str!("script/trim.lua")),
            fetch: Script::new(include_str!("script/fetch.lua")),
            done: Script::new(include_str!("script/done.lua")),
            settle: Script::new(include_str!("script/settle.lua")),
            leave: Script::new(include_str!("script/leave.lua")),
            remove: Script::new(include_str!("script/remove.lua")),
        }
    }
}

/// Without comments, empty lines and what lines begin with. No text within a script has several lines.
fn bare(script: &str) -> String {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.collect::<Vec<_>>().join("\n")
}
