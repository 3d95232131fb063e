//! The power cut on a file system of the kernel: a part of `test` and of `chaos` that not every machine allows.

use anyhow::Result;

use crate::process::{Call, find_program};
use crate::workspace::Workspace;

/// The tests, by the start of their names; each is ignored unless asked for.
pub(crate) const TESTS: &str = "on_ext4";

/// Why they cannot run here; `None` where they can.
pub(crate) fn obstacle(workspace: &Workspace) -> Result<Option<String>> {
    if let Some(missing) = PROGRAMS.iter().find(|name| find_program(name).is_none()) {
        return Ok(Some(format!("{missing} is missing")));
    }
    if Call::program(workspace, "id").arg("-u").output()?.trim() != "0" {
        return Ok(Some("only root may mount".to_owned()));
    }
    let mounts = Call::program(workspace, "unshare").args(["--mount", "sh", "-c", PROBE]).succeeds();
    Ok((!mounts).then(|| "no ext4 on a loop device can be mounted here".to_owned()))
}

/// What the tests call.
const PROGRAMS: [&str; 6] = ["id", "unshare", "mkfs.ext4", "mount", "umount", "perl"];

/// Makes a small file system, mounts it where nobody else sees it, and removes it.
const PROBE: &str = "set -e; place=$(mktemp -d); trap 'rm -rf \"$place\"' EXIT; mkdir \"$place/root\"; \
    truncate -s 16M \"$place/disk\"; mkfs.ext4 -q -F \"$place/disk\"; \
    mount -o loop \"$place/disk\" \"$place/root\"; umount \"$place/root\"";
