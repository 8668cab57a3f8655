//! Contracts: `.proto` files with `sekat.policy.v1` options become a [`Model`], findings with file and line, and
//! generated code. The options are the one source of who may say what to whom.

pub mod breaking;
pub mod build;
pub mod canaries;
pub mod check;
pub mod code;
mod glob;
pub mod golden;
pub mod intent_lints;
pub mod lints;
pub mod model;
mod own;
pub mod policy_file;
mod read;
mod source;
mod suggest;

use std::path::Path;

use sekat_policy::{Diagnostic, Severity};

pub use model::Model;
pub use own::{Deployment, intent_of};
use source::Source;

/// Compiles and checks all contracts below `proto_root`, keeping going: the model holds what compiled, the findings
/// all that is wrong with it. Spans name files as `proto_root` does. There is no model if no file compiled.
#[must_use]
pub fn compile(proto_root: &Path) -> (Option<Model>, Vec<Diagnostic>) {
    let source = Source::load(proto_root, &proto_root.display().to_string());
    let (model, findings) = check(&source);
    (source.compiled().then_some(model), findings)
}

/// The contracts below `proto_root` as an encoded `FileDescriptorSet`, with imports and options and without comments,
/// as [`breaking::compare`] and `buf` take it.
///
/// # Errors
/// The findings, if there are errors among them: what breaks a rule is not released.
pub fn image(proto_root: &Path) -> Result<Vec<u8>, Vec<Diagnostic>> {
    let source = Source::load(proto_root, &proto_root.display().to_string());
    let (_, findings) = check(&source);
    if findings.iter().any(|finding| finding.severity == Severity::Error) { Err(findings) } else { Ok(source.image) }
}

/// The model and everything that is wrong, in the order of place and code.
fn check(source: &Source) -> (Model, Vec<Diagnostic>) {
    let model = read::model(&source.pool, &source.places());
    let mut findings = source.findings.clone();
    findings.extend(lints::run(&model));
    findings.sort_by(|left, right| (&left.span, left.code).cmp(&(&right.span, right.code)));
    (model, findings)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::lints::fixture::planted;

    #[test]
    fn a_file_that_does_not_compile_hides_nothing_of_the_others() {
        let buyer = planted(&[]).line("string buyer = 2");
        let findings = planted(&[
            ("// The amount in rupiah.\n  int64 amount = 2", "// The amount in rupiah.\n  int64 amount = = 2"),
            (&buyer, "  string buyer = 2;"),
        ])
        .findings();
        let found: Vec<_> = findings.iter().map(|f| (f.code, f.span.file.as_str(), f.span.line)).collect();
        assert!(found.contains(&("SK0001", "sekat/bank/v1/bank.proto", 37)), "{findings:#?}");
        assert!(found.iter().any(|(code, file, _)| (*code, *file) == ("SK0003", "sekat/shop/v1/shop.proto")));
        assert_eq!(found.len(), 2, "{findings:#?}");
    }

    const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");

    /// Copies a folder, each `.proto` text changed by `edit`.
    fn copy(from: &Path, to: &Path, edit: &mut impl FnMut(String) -> String) {
        fs::create_dir_all(to).expect("created");
        for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("readable")) {
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target, edit);
            } else if target.extension().is_some_and(|extension| extension == "proto") {
                fs::write(target, edit(fs::read_to_string(entry.path()).expect("text"))).expect("written");
            }
        }
    }

    #[test]
    fn renumbering_a_field_of_this_repository_breaks_it() {
        let released = image(Path::new(PROTO)).expect("the contracts keep the rules");
        assert_eq!(breaking::compare(&released, &released), []);
        let root = tempfile::tempdir().expect("a temporary folder");
        let mut field = None;
        copy(Path::new(PROTO), root.path(), &mut |text| {
            let line = text.lines().find(|line| line.starts_with("  string ") && line.contains(" = 1 ["));
            let Some(line) = line.filter(|_| field.is_none()) else { return text };
            field = line.split(' ').find(|word| !word.is_empty() && *word != "string").map(str::to_owned);
            text.replacen(line, &line.replace(" = 1 [", " = 1001 ["), 1)
        });
        let findings = breaking::compare(&released, &image(root.path()).expect("it keeps the rules"));
        let [finding] = findings.as_slice() else { panic!("one finding, not {findings:#?}") };
        assert_eq!((finding.code, finding.severity), ("SK0103", Severity::Error));
        assert!(finding.message.contains(&field.expect("a field")) && finding.message.contains("from 1 to 1001"));
    }

    #[test]
    fn the_contracts_of_this_repository_keep_the_rules() {
        let (model, findings) = compile(Path::new(PROTO));
        let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
        assert!(model.is_some_and(|model| model.edges().count() > 0));
    }

    #[test]
    fn an_import_that_is_missing_is_reported_once() {
        let import = ("import \"google/rpc/status.proto\";", "import \"google/rpc/statos.proto\";");
        let findings = planted(&[import]).findings();
        let broken: Vec<_> = findings.iter().filter(|finding| finding.code == "SK0001").collect();
        // bank.proto imports shop.proto, and cannot be compiled for the same reason.
        let [finding] = broken.as_slice() else { panic!("one finding, not {broken:#?}") };
        assert_eq!((finding.span.file.as_str(), finding.span.line), ("sekat/shop/v1/shop.proto", 8));
        assert!(finding.message.contains("statos"), "{finding}");
    }

    #[test]
    fn a_tree_on_disk_compiles_or_says_why_not() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (model, findings) = compile(root.path());
        assert!(model.is_none());
        assert!(findings.iter().any(|finding| finding.message.contains("holds no .proto file")), "{findings:#?}");
        fs::write(root.path().join("a.proto"), "syntax = \"proto3\";\npackage a.v1;\nmessage A {}\n").expect("written");
        let (model, findings) = compile(root.path());
        assert!(model.is_some_and(|model| model.messages.contains_key("a.v1.A")));
        let comment = findings.iter().find(|finding| finding.code == "SK0020").expect("no comment");
        assert_eq!(
            (comment.span.line, comment.span.file.as_str()),
            (3, &*format!("{}/a.proto", root.path().display()))
        );
        assert!(image(root.path()).is_err(), "it has no topology");
    }
}
