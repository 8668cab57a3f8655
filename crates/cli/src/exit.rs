//! What exit codes mean, and how errors are told.

use std::process::ExitCode;

use anstream::eprintln;
use anstyle::{AnsiColor, Style};

/// Shown at the end of `sekat --help`.
pub(crate) const HELP: &str = "\
Exit codes: 0 it holds or is done, 1 sekat failed, 2 wrong usage or malformed input, 3 violated, 4 not proven, 130 \
interrupted before it was done.";

/// How a command ended, other than by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked, or what was asked about holds.
    Holds,
    /// What it was given cannot be read.
    Malformed,
    /// The property does not hold, and there is a witness.
    Violated,
    /// The property is neither proven nor disproven.
    NotProven,
    /// The user stopped it before it was done.
    Interrupted,
}

impl Exit {
    /// How a run of this program in a process of its own ended; `None` if it failed.
    pub(crate) const fn of_child(code: Option<i32>) -> Option<Self> {
        match code {
            Some(0) => Some(Self::Holds),
            Some(2) => Some(Self::Malformed),
            Some(3) => Some(Self::Violated),
            Some(4) => Some(Self::NotProven),
            _ => None,
        }
    }
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const VIOLATED: u8 = 3;
const NOT_PROVEN: u8 = 4;
const INTERRUPTED: u8 = 130;

/// What the user asked for cannot be done as they asked for it; the text says how to ask.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Prints clap's message: help on stdout with code 0, mistakes on stderr with code 2.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let code = if error.use_stderr() { USAGE } else { 0 };
    // Nothing can be done if the terminal is gone.
    drop(error.print());
    ExitCode::from(code)
}

/// Turns a result into an exit code; an error is printed with its causes.
pub(crate) fn report(result: anyhow::Result<Exit>) -> ExitCode {
    match result {
        Ok(Exit::Holds) => ExitCode::SUCCESS,
        Ok(Exit::Malformed) => ExitCode::from(USAGE),
        Ok(Exit::Violated) => ExitCode::from(VIOLATED),
        Ok(Exit::NotProven) => ExitCode::from(NOT_PROVEN),
        Ok(Exit::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            eprintln!("{red}error:{red:#} {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::from(if error.is::<Usage>() { USAGE } else { FAILED })
        }
    }
}
