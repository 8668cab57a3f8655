//! Files of a target in a folder: written there, and compared with what is there, so that a test can say which of the
//! committed ones are not what the contracts say.

use std::fs;
use std::io;
use std::path::Path;

use sekat_policy::{Diagnostic, Span};

use crate::Compiled;

/// A file that is not what compiling makes now.
pub const STALE: &str = "SK0420";

/// Writes all files into `folder`, which is made if need be. Other files there stay.
///
/// # Errors
/// If the folder or a file cannot be written.
pub fn write(compiled: &Compiled, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for file in &compiled.files {
        fs::write(folder.join(&file.name), &file.text)?;
    }
    Ok(())
}

/// The files in `folder` that are missing or other than compiled; `help` says how to write them anew. Files of other
/// names are not looked at.
#[must_use]
pub fn stale(compiled: &Compiled, folder: &Path, help: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for file in &compiled.files {
        let path = folder.join(&file.name);
        let at = |line| Span { file: path.display().to_string(), line, column: u32::from(line > 0) };
        match fs::read_to_string(&path) {
            Ok(text) if text == file.text => {}
            Ok(text) => {
                let differs = text.lines().zip(file.text.lines()).take_while(|(old, new)| old == new).count();
                let line = u32::try_from(differs.saturating_add(1)).unwrap_or(u32::MAX);
                found.push(Diagnostic::error(STALE, at(line), "this is not what the policy compiles to", help));
            }
            Err(error) => {
                let message = format!("the policy compiles to this file, which cannot be read: {error}");
                found.push(Diagnostic::error(STALE, at(0), message, help));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shop;
    use crate::{Target, compile};

    #[test]
    fn what_was_written_is_fresh_until_somebody_changes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("policies");
        let (compiled, _) = compile(&shop(), Target::Kubernetes);
        assert_eq!(stale(&compiled, &inner, "write").len(), compiled.files.len());
        write(&compiled, &inner).expect("written");
        assert_eq!(stale(&compiled, &inner, "write"), []);

        let path = inner.join("commerce.yaml");
        let text = fs::read_to_string(&path).expect("text").replacen("kind: NetworkPolicy", "kind: Other", 1);
        fs::write(&path, text).expect("written");
        let found = stale(&compiled, &inner, "write");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].code, found[0].span.line), (STALE, 7), "{found:?}");
    }
}
