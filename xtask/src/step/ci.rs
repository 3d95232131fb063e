//! `ci`: every check in one run, the cheap ones first, the tests last so that their totals end the output.

use crate::report::Report;
use crate::step::{self, clippy, deny, package, test};
use crate::tidy;
use crate::workspace::Workspace;

/// Runs everything, whatever fails on the way.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) {
    report.measure("fmt", || step::fmt::run(workspace));
    report.measure("tidy", || tidy::run(workspace));
    // The bench harness with its competitors too: nothing else that runs here would notice that it no longer compiles.
    report.measure("clippy", || clippy::run(workspace, clippy::Scope::Everything));
    report.measure("docs", || step::docs::run(workspace));
    report.measure("deny", || deny::run(workspace, deny::Checks::WithoutAdvisories));
    report.measure("advisories", || deny::run(workspace, deny::Checks::AdvisoriesAtHand));
    // What is being worked on is what is checked: a release packages committed files only.
    report.measure("package", || package::run(workspace, package::Files::AsTheyAre));
    report.measure("isolate", || step::isolate::run(workspace, &[]));
    report.measure("msrv", || step::msrv::run(workspace));
    report.measure("coverage", || step::coverage::run(workspace));
    report.measure("sbom", || step::sbom::run(workspace));
    test::run(workspace, report, test::Loom::Run);
}
