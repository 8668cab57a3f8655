//! The `sekat` program, as somebody in a shell runs it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// For a command that ends by itself; `up --once` with seeding is the slowest.
const COMMAND_LIMIT: Duration = Duration::from_secs(180);

/// What a command did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its data.
    pub stdout: String,
    /// Everything else that it said.
    pub stderr: String,
}

/// The folder of the programs under test: the profile of this test program.
///
/// # Panics
/// If they were not built.
#[must_use]
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("this test program has a path");
    // target/<profile>/deps/acceptance-<hash>
    let folder = test.ancestors().nth(2).expect("it lies in target/<profile>/deps").to_owned();
    assert!(
        folder.join("sekat").exists(),
        "the programs under test are not in {}: build them with `cargo build --release --workspace --bins`",
        folder.display()
    );
    folder
}

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The `sekat` program, with no setting of the caller's shell but the path.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new(programs().join("sekat"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command
}

/// Runs `sekat` with these arguments to its end.
#[must_use]
pub fn sekat(arguments: &[&str]) -> Ran {
    run(command().args(arguments))
}

/// Runs a command to its end and collects its output.
///
/// # Panics
/// If it cannot be started, or does not end within three minutes.
#[must_use]
pub fn run(command: &mut Command) -> Ran {
    let said = format!("{command:?}");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
    let pid = child.id();
    // The reader of both pipes is a thread, so that a full one does not hold up the command.
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    let Ok(output) = end.recv_timeout(COMMAND_LIMIT) else {
        signal(pid, Signal::KILL);
        panic!("{said} did not end within {} s", COMMAND_LIMIT.as_secs());
    };
    let Output { status, stdout, stderr } = output.expect("the command's output can be read");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is UTF-8");
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Sends a signal to a process that the caller started, or that such a one started.
///
/// # Panics
/// If it is gone.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("the process is there");
}

/// Whether a process is there and has not ended.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold anything.
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The program whose path is in the environment variable `variable`. Without it the calling test proves nothing: this
/// says so, past the capture of test output, and the test is to return.
///
/// # Panics
/// Without it where `CI=true`: there, every tool has to be.
#[must_use]
pub fn tool(variable: &str, proves: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(PathBuf::from(path));
    }
    let lost = format!("NOT RUN: {proves}. `cargo xtask test` installs what it needs and sets {variable}");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{lost}");
    // Unlike `eprintln`, which the test program keeps to itself unless the test fails.
    drop(writeln!(std::io::stderr(), "{lost}"));
    None
}
