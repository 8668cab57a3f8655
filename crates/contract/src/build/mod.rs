//! What build scripts call: generated Rust code of one contract package, or of what one edge may forward.
//!
//! A build script ends with the returned exit code. An error in the files that the code comes from fails it; an
//! error elsewhere in the tree is printed, and fails the build of the crate whose package it is in.

mod canaries;
mod limits;
mod messages;
mod policy;
mod routes;
mod rust;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use prost_reflect::{DescriptorPool, FileDescriptor};
use prost_types::FileDescriptorSet;
use sekat_policy::{Diagnostic, Severity};

use crate::model::Model;
use crate::source::Source;

/// How diagnostics name the root of the contract tree: as it lies in the repository.
const SHOWN: &str = "proto";

/// Google's packages that `sekat-api-google` holds in Rust; those of `google.protobuf` are in `prost-types`.
const GOOGLE: [&str; 2] = ["google.type", "google.rpc"];

/// Generates the crate of one contract package: messages with redacting `Debug`, clients, servers, and
/// `static API: sekat_policy::Api`. `lib.rs` includes `<package>.rs` in a module named as the package's last
/// segment, and `policy.rs` beside it.
#[must_use]
pub fn api(package: &str) -> ExitCode {
    run(|tree, out| tree.api(package, out))
}

/// Generates the crate of Google's own types: `google.r#type.rs` and `google.rpc.rs`.
#[must_use]
pub fn google() -> ExitCode {
    run(|tree, out| {
        tree.fail_on(|_| true)?;
        let set = tree.files(|package| GOOGLE.contains(&package) || package == "google.protobuf");
        let builder = tonic_prost_build::configure().emit_rerun_if_changed(false).out_dir(out);
        builder.compile_fds(set).map_err(Failure::Generate)
    })
}

/// Generates `routes.rs`: for each caller, the methods that it may call, without linking an API crate.
#[must_use]
pub fn routes(callers: &[&str]) -> ExitCode {
    run(|tree, out| {
        tree.fail_on(|_| true)?;
        write(out, "routes.rs", &routes::table(&tree.model, callers).ok_or(Failure::Incomplete)?)
    })
}

/// Why a build script fails.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no folder `proto` beside or above this crate; build it inside of its repository")]
    NoTree,
    #[error("{0} is not set; run this from a build script")]
    NoVariable(&'static str),
    #[error("the contracts have errors (above)")]
    Findings,
    #[error("no file of the contracts has the package {0}")]
    NoPackage(String),
    #[error("the contracts leave out a policy that the lints should have asked for")]
    Incomplete,
    #[error("the Rust code could not be generated: {0}")]
    Generate(io::Error),
    #[error("{0} could not be written: {1}")]
    Write(PathBuf, io::Error),
}

fn run(job: impl FnOnce(&Tree, &Path) -> Result<(), Failure>) -> ExitCode {
    let done = Tree::find().and_then(|tree| {
        let out = std::env::var_os("OUT_DIR").ok_or(Failure::NoVariable("OUT_DIR"))?;
        job(&tree, Path::new(&out))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's contracts, compiled and checked.
struct Tree {
    source: Source,
    model: Model,
    findings: Vec<Diagnostic>,
}

impl Tree {
    fn find() -> Result<Self, Failure> {
        let crate_root = std::env::var_os("CARGO_MANIFEST_DIR").ok_or(Failure::NoVariable("CARGO_MANIFEST_DIR"))?;
        let mut above = Path::new(&crate_root).ancestors().map(|folder| folder.join(SHOWN));
        let root = above.find(|folder| folder.is_dir()).ok_or(Failure::NoTree)?;
        rerun_if_changed(&root);
        Ok(Self::of(Source::load(&root, SHOWN)))
    }

    fn of(source: Source) -> Self {
        let (model, findings) = crate::check(&source);
        Self { source, model, findings }
    }

    /// Prints all findings, and fails if one of `files` has an error.
    fn fail_on(&self, files: impl Fn(&str) -> bool) -> Result<(), Failure> {
        for finding in &self.findings {
            eprintln!("{finding}\n");
        }
        let root = format!("{SHOWN}/");
        let ours = |finding: &Diagnostic| {
            finding.severity == Severity::Error && finding.span.file.strip_prefix(&root).is_none_or(&files)
        };
        if self.findings.iter().any(ours) { Err(Failure::Findings) } else { Ok(()) }
    }

    /// The files that the code of a package comes from, if they have no errors.
    fn sound_files(&self, package: &str) -> Result<Vec<FileDescriptor>, Failure> {
        let files = with_imports(&self.source.pool, package);
        let names: BTreeSet<_> = files.iter().map(FileDescriptor::name).collect();
        let topology = |name: &str| self.model.topologies.iter().any(|span| span.file == format!("{SHOWN}/{name}"));
        // A file that does not compile is not known by its package, but still by its folder.
        let folder = format!("{}/", package.replace('.', "/"));
        self.fail_on(|file| names.contains(file) || topology(file) || file.starts_with(&folder))?;
        if files.is_empty() { Err(Failure::NoPackage(package.to_owned())) } else { Ok(files) }
    }

    fn api(&self, package: &str, out: &Path) -> Result<(), Failure> {
        let files = self.sound_files(package)?;
        // Google's messages are looked up to decide what derives `Copy`; as external paths they generate nothing.
        let set = self.files(|name| name == package || GOOGLE.contains(&name) || name == "google.protobuf");
        let mut builder = tonic_prost_build::configure()
            .skip_debug(["."])
            // Encoding is deterministic, because a repeated request is known by the digest of its bytes.
            .btree_map(".")
            .codec_path("::sekat_codec::Codec")
            .extern_path(".google.rpc", "::sekat_api_google::rpc")
            .emit_rerun_if_changed(false)
            .out_dir(out);
        // prost writes the module of an external package as `r_type`, unless it gets the path of each type.
        for name in self.model.messages.keys().filter(|name| name.starts_with("google.type.")) {
            let path = rust::path("google.type", name).replacen("crate", "::sekat_api_google", 1);
            builder = builder.extern_path(format!(".{name}"), path);
        }
        builder.compile_fds(set).map_err(Failure::Generate)?;
        let mut code = policy::api(&self.model, package).ok_or(Failure::Incomplete)?;
        code += &messages::debug(&self.model, package);
        code += &limits::bounded(&self.model, package);
        code += &canaries::tests(&self.model, &self.source.pool, package);
        write(out, "policy.rs", &code)?;
        write(out, policy::DESCRIPTOR_SET, descriptor_set(&files))
    }

    /// The descriptors of the packages that `wanted` names.
    fn files(&self, wanted: impl Fn(&str) -> bool) -> FileDescriptorSet {
        let files = self.source.pool.files().filter(|file| wanted(file.package_name()));
        FileDescriptorSet { file: files.map(|file| file.file_descriptor_proto().clone()).collect() }
    }
}

/// The files of a package and all that they import, imports first.
fn with_imports(pool: &DescriptorPool, package: &str) -> Vec<FileDescriptor> {
    let mut wanted = BTreeSet::new();
    let mut queue: Vec<_> = pool.files().filter(|file| file.package_name() == package).collect();
    while let Some(file) = queue.pop() {
        if wanted.insert(file.name().to_owned()) {
            queue.extend(file.dependencies());
        }
    }
    // The pool holds files in an order in which imports come before those who import them.
    pool.files().filter(|file| wanted.contains(file.name())).collect()
}

/// An encoded `FileDescriptorSet` with all options: `prost-types` would drop ours, so the bytes are put together here.
fn descriptor_set(files: &[FileDescriptor]) -> Vec<u8> {
    /// `FileDescriptorSet.file`.
    const FILE: u32 = 1;
    let mut set = Vec::new();
    for file in files {
        prost::encoding::bytes::encode(FILE, &crate::source::without_positions(file), &mut set);
    }
    set
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> Result<(), Failure> {
    let path = folder.join(name);
    std::fs::write(&path, content).map_err(|error| Failure::Write(path, error))
}

#[expect(clippy::print_stdout, reason = "a build script talks to cargo on its standard output")]
fn rerun_if_changed(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lints::fixture::planted;

    #[test]
    fn an_error_fails_the_packages_that_it_concerns() {
        let fails = |edits: &[(&str, &str)]| {
            let tree = Tree::of(planted(edits).source_below(SHOWN));
            ["sekat.shop.v1", "sekat.shop.feed.v1", "sekat.bank.v1"].map(|package| tree.sound_files(package).is_err())
        };
        assert_eq!(fails(&[]), [false, false, false]);
        let title = planted(&[]).line("string title = 2");
        assert_eq!(fails(&[(&title, "  string title = 2;")]), [false, true, false], "a finding in the feed");
        assert_eq!(fails(&[("message FeedSeller {", "message FeedSeller")]), [false, true, false], "no protobuf");
        let buyer = planted(&[]).line("string buyer = 2");
        assert_eq!(fails(&[(&buyer, "  string buyer = 2;")]), [true, false, true], "bank imports shop");
        assert_eq!(fails(&[(r#"name: "ops""#, r#"name: "shop""#)]), [true, true, true], "the topology is everybody's");
    }

    #[test]
    fn a_package_that_does_not_exist_is_said_so() {
        let tree = Tree::of(planted(&[]).source_below(SHOWN));
        assert!(matches!(tree.sound_files("sekat.shop.v2"), Err(Failure::NoPackage(name)) if name == "sekat.shop.v2"));
    }

    #[test]
    fn the_descriptor_set_is_complete_and_keeps_our_options() {
        let tree = Tree::of(planted(&[]).source_below(SHOWN));
        let set = descriptor_set(&tree.sound_files("sekat.shop.v1").expect("lawful"));
        let pool = DescriptorPool::decode(set.as_slice()).expect("a FileDescriptorSet with all imports");
        assert!(pool.get_service_by_name("sekat.shop.v1.OrderService").is_some());
        assert!(pool.get_service_by_name("sekat.bank.v1.BankService").is_none(), "nothing beyond what it imports");
        let order = pool.get_message_by_name("sekat.shop.v1.Order").expect("in the package");
        let class = pool.get_extension_by_name("sekat.policy.v1.class").expect("imported");
        let buyer = order.get_field_by_name("buyer").expect("declared").options();
        assert_eq!(buyer.get_extension(&class).as_enum_number(), Some(2));
        assert!(pool.files().all(|file| file.file_descriptor_proto().source_code_info.is_none()));
    }
}
