//! The steps: one file a command. Each returns a verdict; an error means that the check failed.

pub(crate) mod bench;
pub(crate) mod chaos;
pub(crate) mod ci;
pub(crate) mod clippy;
pub(crate) mod coverage;
pub(crate) mod deny;
pub(crate) mod disk;
pub(crate) mod docs;
pub(crate) mod fmt;
pub(crate) mod isolate;
pub(crate) mod msrv;
pub(crate) mod package;
pub(crate) mod sbom;
pub(crate) mod test;
