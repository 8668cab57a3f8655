//! A small lawful policy, and how tests plant faults into it.

use std::path::Path;

use sekat_policy::{Diagnostic, Intent};

use crate::policy_file;

const FILE: &str = "policy.yaml";

/// The policy with some edits.
pub(crate) struct Policy {
    text: String,
}

/// The policy with each text replaced by the other. Each text occurs exactly once.
#[track_caller]
pub(crate) fn planted(edits: &[(&str, &str)]) -> Policy {
    let mut text = include_str!("fixture.yaml").to_owned();
    for (from, to) in edits {
        assert_eq!(text.matches(from).count(), 1, "{from:?}");
        text = text.replace(from, to);
    }
    Policy { text }
}

impl Policy {
    /// What it means and what is wrong with it.
    pub(crate) fn read(&self) -> (Intent, Vec<Diagnostic>) {
        policy_file::read_text(FILE, &self.text, Path::new(""))
    }

    /// The policy has one fault: of this code, on a line that holds `at`, with a message that holds `part`.
    #[track_caller]
    pub(crate) fn finds(&self, code: &str, at: &str, part: &str) {
        let findings = self.read().1;
        let [finding] = findings.as_slice() else { panic!("one finding, not {findings:#?}") };
        let line = self.text.lines().nth((finding.span.line as usize).wrapping_sub(1)).unwrap_or_default();
        assert!(
            finding.code == code && line.contains(at) && finding.message.contains(part) && !finding.help.is_empty(),
            "{finding}\nat {line:?}"
        );
    }

    /// Among its faults is one of this code with a message that holds `part`.
    #[track_caller]
    pub(crate) fn finds_among_others(&self, code: &str, part: &str) {
        let findings = self.read().1;
        assert!(findings.iter().any(|it| it.code == code && it.message.contains(part)), "{findings:#?}");
    }

    /// The policy has no fault.
    #[track_caller]
    pub(crate) fn finds_nothing(&self) {
        let findings = self.read().1;
        assert!(findings.is_empty(), "{findings:#?}");
    }
}
