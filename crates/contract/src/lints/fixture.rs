//! A small lawful contract tree, and how tests plant faults into it.

use std::path::PathBuf;

use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use sekat_policy::Diagnostic;

use crate::model::Model;
use crate::source::Source;

/// The tree's own files, in which faults are planted.
const TREE: [(&str, &str); 4] = [
    ("sekat/bank/v1/bank.proto", include_str!("fixture/bank.proto")),
    ("sekat/shop/feed/v1/feed.proto", include_str!("fixture/feed.proto")),
    ("sekat/shop/v1/shop.proto", include_str!("fixture/shop.proto")),
    ("sekat/topology/v1/topology.proto", include_str!("fixture/topology.proto")),
];

/// What the tree imports.
const IMPORTED: [(&str, &str); 5] = [
    ("google/api/field_behavior.proto", include_str!("../../../../proto/google/api/field_behavior.proto")),
    ("google/longrunning/operations.proto", "syntax = \"proto3\";\npackage google.longrunning;\n"),
    ("google/rpc/status.proto", include_str!("../../../../proto/google/rpc/status.proto")),
    ("google/type/money.proto", include_str!("../../../../proto/google/type/money.proto")),
    ("sekat/policy/v1/policy.proto", include_str!("../../../../proto/sekat/policy/v1/policy.proto")),
];

/// The tree with some edits.
pub(crate) struct Tree {
    files: Vec<(&'static str, String)>,
}

/// The tree with each text replaced by the other. Each text occurs exactly once.
#[track_caller]
pub(crate) fn planted(edits: &[(&str, &str)]) -> Tree {
    let mut files = TREE.map(|(name, text)| (name, text.to_owned())).to_vec();
    for (from, to) in edits {
        let places: usize = files.iter().map(|(_, text)| text.matches(from).count()).sum();
        assert_eq!(places, 1, "{from:?} occurs {places} times");
        for (_, text) in &mut files {
            *text = text.replace(from, to);
        }
    }
    Tree { files }
}

impl Tree {
    /// The only line that holds `part`.
    #[track_caller]
    pub(crate) fn line(&self, part: &str) -> String {
        let lines: Vec<_> =
            self.files.iter().flat_map(|(_, text)| text.lines()).filter(|line| line.contains(part)).collect();
        assert_eq!(lines.len(), 1, "{part:?} is on {lines:?}");
        lines[0].to_owned()
    }

    /// The tree without a file.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.files.retain(|(file, _)| *file != name);
        self
    }

    /// The tree, compiled.
    pub(crate) fn source(&self) -> Source {
        self.source_below("")
    }

    /// The tree, compiled, with its files named below `shown`.
    pub(crate) fn source_below(&self, shown: &str) -> Source {
        let mut resolver = ChainFileResolver::new();
        let imported = IMPORTED.map(|(name, text)| (name, text.to_owned()));
        resolver.add(Memory(self.files.iter().cloned().chain(imported).collect()));
        resolver.add(GoogleFileResolver::new());
        let compiler = Compiler::with_file_resolver(resolver);
        Source::compile(compiler, self.files.iter().map(|(name, _)| PathBuf::from(name)), shown)
    }

    /// The model of the tree.
    pub(crate) fn model(&self) -> Model {
        crate::check(&self.source()).0
    }

    /// Everything that is wrong with the tree.
    pub(crate) fn findings(&self) -> Vec<Diagnostic> {
        crate::check(&self.source()).1
    }

    /// The tree has one fault: of this code, on a line that holds `at`, with a message that holds `part`.
    #[track_caller]
    pub(crate) fn finds(&self, code: &str, at: &str, part: &str) {
        let findings = self.findings();
        let [finding] = findings.as_slice() else { panic!("one finding, not {findings:#?}") };
        let file = self.files.iter().find(|(name, _)| *name == finding.span.file);
        let line = file.and_then(|(_, text)| text.lines().nth(finding.span.line as usize - 1)).unwrap_or_default();
        assert!(
            finding.code == code && line.contains(at) && finding.message.contains(part) && !finding.help.is_empty(),
            "{finding}\nat {line:?}"
        );
    }

    /// The tree has no fault.
    #[track_caller]
    pub(crate) fn finds_nothing(&self) {
        let findings = self.findings();
        assert!(findings.is_empty(), "{findings:#?}");
    }
}

struct Memory(Vec<(&'static str, String)>);

impl FileResolver for Memory {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let (name, text) =
            self.0.iter().find(|(file, _)| *file == name).ok_or_else(|| protox::Error::file_not_found(name))?;
        File::from_source(name, text)
    }
}
