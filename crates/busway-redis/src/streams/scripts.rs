//! The scripts of the transport: one for each step that nobody may come between.

use redis::Script;

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) prepare: Script,
    pub(super) join: Script,
    pub(super) send: Script,
    pub(super) trim: Script,
    pub(super) fetch: Script,
    pub(super) settle: Script,
    pub(super) leave: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            prepare: Script::new(include_str!("script/prepare.lua")),
            join: Script::new(include_str!("script/join.lua")),
            send: Script::new(include_str!("script/send.lua")),
            trim: Script::new(include_str!("script/trim.lua")),
            fetch: Script::new(include_str!("script/fetch.lua")),
            settle: Script::new(include_str!("script/settle.lua")),
            leave: Script::new(include_str!("script/leave.lua")),
        }
    }
}
