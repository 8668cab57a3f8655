//! Comparison with files that people have reviewed. A test never writes them.

use std::fmt::Write as _;

use crate::cli::repository;

/// Asserts that `actual` is what `tests/golden/<file>` says.
///
/// # Panics
/// If it is not, with the lines that differ and what to do.
pub fn assert_golden(file: &str, actual: &str) {
    let path = repository().join("tests/golden").join(file);
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    if golden == actual {
        return;
    }
    let mut difference = String::new();
    let (before, now): (Vec<&str>, Vec<&str>) = (golden.lines().collect(), actual.lines().collect());
    for line in before.iter().filter(|line| !now.contains(line)) {
        let _ = writeln!(difference, "- {line}");
    }
    for line in now.iter().filter(|line| !before.contains(line)) {
        let _ = writeln!(difference, "+ {line}");
    }
    panic!(
        "tests/golden/{file} says something else (- reviewed, + now):\n{difference}\nIf every line of it is meant, \
         make the change in that file by hand, in the same commit, and have it reviewed like code. All of it now:\n\
         {actual}"
    );
}

/// The rows of a tab-separated golden file below its headings.
///
/// # Panics
/// If it cannot be read, or a row has not `N` columns.
#[must_use]
pub fn rows<const N: usize>(file: &str) -> Vec<[String; N]> {
    let path = repository().join("tests/golden").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let row = |line: &str| {
        let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
        <[String; N]>::try_from(columns).unwrap_or_else(|columns| panic!("{file}: {columns:?} has not {N} columns"))
    };
    text.lines().skip(1).map(row).collect()
}
