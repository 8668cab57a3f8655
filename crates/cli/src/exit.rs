//! What exit codes mean, and how errors are told.

use std::process::ExitCode;

use anstream::eprintln;
use anstyle::{AnsiColor, Style};

/// Shown at the end of `sekat --help`.
pub(crate) const HELP: &str = "Exit codes: 0 done, 1 sekat failed, 2 wrong usage, 130 interrupted before it was done.";

/// How a command ended, other than by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Holds,
    /// The user stopped it before it was done.
    Interrupted,
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const INTERRUPTED: u8 = 130;

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
        Ok(Exit::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            eprintln!("{red}error:{red:#} {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::from(FAILED)
        }
    }
}
