//! Compiles a tree of `.proto` files without `protoc`. A file that does not compile is a finding; the others go on.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic as _;
use prost::Message as _;
use prost_reflect::{DescriptorPool, FileDescriptor, ReflectMessage as _};
use prost_types::FileDescriptorProto;
use protox::Compiler;
use sekat_policy::{Diagnostic, Span};

/// The code of a file that cannot be read or compiled.
pub(crate) const CODE: &str = "SK0001";

/// The `.proto` files of a tree and what became of them.
pub(crate) struct Source {
    /// All files that compiled, with what they import.
    pub(crate) pool: DescriptorPool,
    /// The same as an encoded `FileDescriptorSet` with all options and without source positions.
    pub(crate) image: Vec<u8>,
    /// What did not compile.
    pub(crate) findings: Vec<Diagnostic>,
    /// How diagnostics name the root of the tree.
    shown: String,
}

impl Source {
    /// Compiles all `.proto` files below `root`; diagnostics name them below `shown`.
    pub(crate) fn load(root: &Path, shown: &str) -> Self {
        let files = match proto_files(root) {
            Ok(files) if files.is_empty() => {
                return Self::unreadable(shown, "holds no .proto file", "name the folder that holds the contracts");
            }
            Ok(files) => files,
            Err(error) => {
                let message = format!("cannot be read: {error}");
                return Self::unreadable(shown, &message, "name a folder that exists and can be read");
            }
        };
        match Compiler::new([root]) {
            Ok(compiler) => Self::compile(compiler, files.iter().map(|file| root.join(file)), shown),
            Err(error) => Self::unreadable(shown, &error.to_string(), "name a folder that exists and can be read"),
        }
    }

    /// Compiles `files` with `compiler`.
    pub(crate) fn compile(mut compiler: Compiler, files: impl Iterator<Item = PathBuf>, shown: &str) -> Self {
        compiler.include_imports(true).include_source_info(true);
        let mut findings = Vec::new();
        for file in files {
            if let Err(error) = compiler.open_file(&file) {
                let finding = describe(&error, &file, shown);
                // What many files import is compiled, and fails, once for each of them.
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }
        let pool = compiler.descriptor_pool();
        compiler.include_source_info(false);
        Self { pool, image: compiler.encode_file_descriptor_set(), findings, shown: shown.to_owned() }
    }

    /// What was compiled elsewhere; diagnostics name its files below `shown`.
    pub(crate) fn of_pool(pool: DescriptorPool, shown: &str) -> Self {
        Self { pool, image: Vec::new(), findings: Vec::new(), shown: shown.to_owned() }
    }

    /// Whether any file compiled.
    pub(crate) fn compiled(&self) -> bool {
        self.pool.files().len() > 0
    }

    fn unreadable(shown: &str, message: &str, help: &str) -> Self {
        let span = Span { file: shown.to_owned(), ..Span::default() };
        let finding = Diagnostic::error(CODE, span, format!("the contract tree {message}"), help);
        Self { pool: DescriptorPool::new(), image: Vec::new(), findings: vec![finding], shown: shown.to_owned() }
    }

    /// The places of everything that compiled.
    pub(crate) fn places(&self) -> Places {
        let mut files = HashMap::new();
        for file in self.pool.files() {
            let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
            let places = locations.map(|location| {
                let documented = [location.leading_comments.as_deref(), location.trailing_comments.as_deref()]
                    .into_iter()
                    .flatten()
                    .any(|comment| !comment.trim().is_empty());
                let at = |index: usize| {
                    location.span.get(index).and_then(|zero_based| u32::try_from(zero_based + 1).ok()).unwrap_or(0)
                };
                (location.path.clone(), Place { line: at(0), column: at(1), documented })
            });
            files.insert(file.name().to_owned(), places.collect());
        }
        Places { files, shown: self.shown.clone() }
    }
}

/// A file's descriptor with all its options, encoded, without source positions.
pub(crate) fn without_positions(file: &FileDescriptor) -> Vec<u8> {
    let encoded = file.encode_to_vec();
    let mut message = FileDescriptorProto::default().transcode_to_dynamic();
    // The bytes come from a descriptor; if they should not decode, positions do no harm.
    if message.merge(encoded.as_slice()).is_err() {
        return encoded;
    }
    message.clear_field_by_name("source_code_info");
    message.encode_to_vec()
}

/// Where the elements of all files are, by file name and descriptor path.
pub(crate) struct Places {
    files: HashMap<String, HashMap<Vec<i32>, Place>>,
    shown: String,
}

#[derive(Clone, Copy, Default)]
struct Place {
    line: u32,
    column: u32,
    documented: bool,
}

impl Places {
    /// Of an image, which holds no positions.
    pub(crate) fn none() -> Self {
        Self { files: HashMap::new(), shown: String::new() }
    }

    /// Where an element is, and whether it has a comment.
    pub(crate) fn of(&self, file: &str, path: &[i32]) -> (Span, bool) {
        let place = self.files.get(file).and_then(|places| places.get(path)).copied().unwrap_or_default();
        let file = shown_path(&self.shown, file);
        (Span { file, line: place.line, column: place.column }, place.documented)
    }
}

fn shown_path(shown: &str, file: &str) -> String {
    if shown.is_empty() { file.to_owned() } else { format!("{}/{file}", shown.trim_end_matches('/')) }
}

fn describe(error: &protox::Error, file: &Path, shown: &str) -> Diagnostic {
    let name = error.file().map_or_else(|| file.display().to_string(), |name| shown_path(shown, name));
    let mut span = Span { file: name, ..Span::default() };
    let label = error.labels().and_then(|mut labels| labels.next());
    if let (Some(source), Some(label)) = (error.source_code(), label)
        && let Ok(contents) = source.read_span(label.inner(), 0, 0)
    {
        let from_zero = |value: usize| u32::try_from(value + 1).unwrap_or(0);
        (span.line, span.column) = (from_zero(contents.line()), from_zero(contents.column()));
    }
    let help =
        error.help().map_or_else(|| "mend the file; protobuf cannot read it".to_owned(), |help| help.to_string());
    Diagnostic::error(CODE, span, error.to_string(), help)
}

/// The `.proto` files below `root`, as paths relative to it, in the order of their names.
fn proto_files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto")
                && let Ok(relative) = path.strip_prefix(root)
            {
                found.insert(relative.to_owned());
            }
        }
    }
    Ok(found.into_iter().collect())
}
