//! `tidy`: the rules of the house that no lint knows, one file a rule.
//!
//! A rule is a function from what it looks at to its list of [`Problem`]s; it never stops at the first. Rules about
//! text look at a [`Tree`], which tests build from a few lines; [`layers`] and [`manifests`] look at what cargo
//! says about the members. The reasons behind the rules are in `CONTRIBUTING.md`.

mod code;
mod crate_papers;
mod front_page;
mod guarantees;
mod idle_assertions;
mod ignored;
mod layers;
mod length;
mod licences;
mod lock;
mod machine_paths;
mod manifests;
mod names;
mod opening;
mod placeholders;
mod problem;
mod records;
mod scoped_threads;
mod sleeps;
mod tool_versions;
mod tree;
mod unsafe_code;

use anyhow::{Result, bail};

use crate::report::Verdict;
use crate::workspace::Workspace;

use self::problem::Problem;
use self::tree::Tree;

/// Prints every problem of every rule, sorted by place, and fails if there is one.
pub(crate) fn run(workspace: &Workspace) -> Result<Verdict> {
    let tree = Tree::read(workspace.root())?;
    let members = workspace.members();
    let mut problems: Vec<Problem> = TEXT_RULES.iter().flat_map(|rule| rule(&tree)).collect();
    problems.extend(layers::check(&layers::edges(&members), &tree));
    problems.extend(manifests::check(&manifests::members(&members), &tree));
    problems.sort();
    for problem in &problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => Ok(Verdict::Passed),
        1 => bail!("1 problem"),
        several => bail!("{several} problems"),
    }
}

/// The rules that need nothing but the files.
const TEXT_RULES: &[fn(&Tree) -> Vec<Problem>] = &[
    crate_papers::check,
    front_page::check,
    guarantees::check,
    idle_assertions::check,
    ignored::check,
    length::check,
    licences::check,
    lock::check,
    machine_paths::check,
    names::check,
    opening::check,
    placeholders::check,
    records::check,
    scoped_threads::check,
    sleeps::check,
    tool_versions::check,
    unsafe_code::check,
];
