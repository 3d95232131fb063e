//! Which version of a contender was built: what the lock file says.

/// The version of a package in the workspace's lock file; empty if it is not there.
#[must_use]
pub fn version_of(package: &str) -> String {
    version_in(include_str!("../../Cargo.lock"), package).unwrap_or_default().to_owned()
}

fn version_in<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let mut lines = lock.lines().skip_while(|line| line.strip_prefix("name = ").map(bare) != Some(package));
    lines.find_map(|line| line.strip_prefix("version = ").map(bare))
}

fn bare(quoted: &str) -> &str {
    quoted.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_that_of_the_package_with_exactly_this_name() {
        let lock = "[[package]]\nname = \"flume-x\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"flume\"\nversion = \"0.12.0\"\n";
        assert_eq!(version_in(lock, "flume"), Some("0.12.0"));
        assert_eq!(version_in(lock, "flum"), None);
        assert!(!version_of("crossbeam-channel").is_empty());
    }
}
