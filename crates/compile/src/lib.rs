//! From what is meant to what clusters and meshes enforce: an [`Intent`] becomes objects for eight targets, each with
//! the list of what its target cannot express and who holds that instead.
//!
//! PROMISE: what is emitted is read back by a reader that knows only the target's documented semantics, and it lets
//! through exactly what is meant, as far as the target can tell calls apart ([`round_trip`]). A reader and its emitter
//! share no code but the values of the model and ranges of addresses.

mod attempt;
mod cidr;
mod document;
mod emit;
#[cfg(test)]
mod faults;
pub mod folder;
mod loss;
mod meant;
mod plan;
mod read;
mod round_trip;
mod sound;
mod target;
#[cfg(test)]
mod testing;
mod world;

use sekat_policy::{Diagnostic, Intent};

pub use loss::Loss;
pub use round_trip::round_trip;
pub use target::Target;

/// The codes of this crate's findings; each has its page in `docs/diagnostics`.
pub mod codes {
    pub use crate::emit::TOO_MANY;
    pub use crate::folder::STALE;
    pub use crate::read::{NOT_UNDERSTOOD, TRAP};
    pub use crate::round_trip::{NARROWER, WIDER};
    pub use crate::sound::{BAD_NAME, BAD_RANGE, DANGLING, NOT_TCP, PATTERN, SHARED_IDENTITY, SHARED_SELECTOR};

    /// All of them.
    pub const ALL: [&str; 13] = [
        BAD_NAME,
        SHARED_SELECTOR,
        SHARED_IDENTITY,
        DANGLING,
        PATTERN,
        BAD_RANGE,
        NOT_TCP,
        TOO_MANY,
        WIDER,
        NARROWER,
        NOT_UNDERSTOOD,
        TRAP,
        STALE,
    ];
}

/// A file of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, without a folder, unique in its target.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What an intent becomes for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// For whom.
    pub target: Target,
    /// The files, by name.
    pub files: Vec<File>,
    /// What the target cannot express, and who holds it.
    pub losses: Vec<Loss>,
}

impl Compiled {
    /// Leaves only the files that `base` does not have as they are.
    pub fn subtract(&mut self, base: &Self) {
        self.files.retain(|file| !base.files.contains(file));
    }
}

/// Makes the objects of one target. With findings that are errors there are no files: half a policy set would enforce
/// something that nobody meant.
#[must_use]
pub fn compile(intent: &Intent, target: Target) -> (Compiled, Vec<Diagnostic>) {
    let mut findings = sound::findings(intent);
    let mut files = Vec::new();
    if findings.is_empty() {
        (files, findings) = emit::emit(&plan::Plan::of(intent), target);
        files.sort_by(|one, other| one.name.cmp(&other.name));
    }
    if !findings.is_empty() {
        files.clear();
    }
    (Compiled { target, files, losses: loss::losses(intent, target) }, findings)
}

#[cfg(test)]
mod tests {
    use super::codes;

    #[test]
    fn every_code_has_a_page() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/diagnostics");
        for code in codes::ALL {
            let page = std::fs::read_to_string(folder.join(format!("{code}.md"))).expect(code);
            assert!(page.starts_with(&format!("# {code}: ")) && page.contains("## What to do"), "{code}");
        }
    }
}
