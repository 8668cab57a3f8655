//! `cargo xtask up`: builds, starts the whole system, and makes one purchase when it is ready.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio, id as process_id};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};

use crate::tools::{Found, JAEGER};
use crate::workspace::Workspace;
use crate::{process, system};

/// `sekat up` writes this file into the data directory once every process is healthy and the store is seeded.
const READY_FILE: &str = "up.ready.json";

/// How often the file is looked for: unnoticeable for a person, nothing for the machine.
const READY_POLL: Duration = Duration::from_millis(50);

/// Builds the system and becomes `sekat up`: the process is replaced, so that Ctrl-C, SIGTERM and the exit code are
/// those of `sekat up` with nothing in between. Returns only if that fails.
pub(crate) fn up(workspace: &Workspace, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    require_c_compiler()?;
    let mut build = process::cargo();
    // The whole workspace, as the tests build it: another selection would compile the dependencies anew.
    build.args(["build", "--release", "--workspace", "--bins"]);
    process::run(&mut build)?;

    let sekat = workspace.release_binary("sekat");
    let mut command = Command::new(&sekat);
    command.arg("up").args(arguments);
    let data = option(arguments, "--data").map_or_else(|| workspace.root.join("data"), PathBuf::from);
    if option(arguments, "--data").is_none() {
        command.arg("--data").arg(&data);
    }
    if has_flag(arguments, "--jaeger") {
        match JAEGER.ensure(workspace)? {
            Found::At(program) => command.env("SEKAT_JAEGER", program),
            Found::Missing(lack) => bail!("cannot start Jaeger: {lack}"),
        };
    }
    // With `--once`, `sekat up` buys by itself and ends; asked for help, it starts nothing.
    if !["--once", "--help", "-h"].iter().any(|flag| has_flag(arguments, flag)) {
        let mut buyer = Command::new(env::current_exe().context("cannot find xtask's own program")?);
        buyer.arg("buy-when-ready").arg("--sekat").arg(&sekat).arg("--data").arg(&data);
        buyer.arg("--parent").arg(process_id().to_string());
        // It becomes a child of `sekat up`, gets Ctrl-C with it, and notices when it is gone.
        buyer.stdin(Stdio::null()).spawn().context("cannot start the buyer")?;
    }
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", sekat.display()))
}

/// Waits until the system that started after this process is ready, then makes one purchase. Ends quietly when its
/// parent, `sekat up`, ends first: that one has said why.
pub(crate) fn buy_when_ready(sekat: &Path, data: &Path, parent: u32) -> anyhow::Result<()> {
    let started = SystemTime::now();
    let ready = data.join(READY_FILE);
    // A file from an earlier run is older than this process.
    while !fs::metadata(&ready).and_then(|file| file.modified()).is_ok_and(|modified| modified >= started) {
        if parent_id() != parent {
            return Ok(());
        }
        thread::park_timeout(READY_POLL);
    }
    process::run(Command::new(sekat).arg("buy").arg("--data").arg(data))
}

/// The value of `--name VALUE` or `--name=VALUE`.
fn option(arguments: &[OsString], name: &str) -> Option<OsString> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == OsStr::new(name) {
            return arguments.next().cloned();
        }
        let value = argument.to_str().and_then(|text| text.strip_prefix(name)?.strip_prefix('='));
        if let Some(value) = value {
            return Some(value.into());
        }
    }
    None
}

fn has_flag(arguments: &[OsString], name: &str) -> bool {
    arguments.iter().any(|argument| argument == OsStr::new(name))
}

/// SQLite and ring are compiled from C. As root on Debian the compiler is installed, elsewhere the error has the
/// command.
pub(crate) fn require_c_compiler() -> anyhow::Result<()> {
    if c_compiler_works() {
        return Ok(());
    }
    let packages = ["gcc", "libc6-dev"];
    ensure!(
        system::install(&packages)?,
        "no C compiler with the C library's headers. On Debian: {}",
        system::command(&packages)
    );
    ensure!(c_compiler_works(), "`cc` still cannot compile `#include <stdlib.h>`: see the messages of apt-get above");
    Ok(())
}

/// Whether `cc` finds the C library's headers.
fn c_compiler_works() -> bool {
    let mut command = Command::new("cc");
    command.args(["-fsyntax-only", "-x", "c", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut compiler) = command.spawn() else { return false };
    let written = compiler.stdin.take().is_some_and(|mut source| source.write_all(b"#include <stdlib.h>\n").is_ok());
    compiler.wait().is_ok_and(|status| status.success()) && written
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{has_flag, option};

    #[test]
    fn the_data_directory_is_found_in_both_spellings() {
        let arguments = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(option(&arguments(&["--once", "--data", "shop"]), "--data"), Some("shop".into()));
        assert_eq!(option(&arguments(&["--data=shop", "--once"]), "--data"), Some("shop".into()));
        assert_eq!(option(&arguments(&["--database", "shop"]), "--data"), None);
        assert!(has_flag(&arguments(&["--data", "shop", "--once"]), "--once"));
    }
}
