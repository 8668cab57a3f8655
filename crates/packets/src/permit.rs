//! The right to make network namespaces: root has it, and anybody has it in a user namespace of their own, where the
//! kernel allows one.

use std::env;
use std::process::{Command, ExitStatus};

use crate::Error;
use crate::netns::Netns;

/// Set in the process that runs in the user namespace, so that it does not try for another one.
const INSIDE: &str = "SEKAT_PACKETS_INSIDE";

/// Whether this process may build a world as it is.
#[must_use]
pub fn permitted() -> bool {
    Netns::new().is_ok_and(|space| space.ip("link set lo up\n").is_ok())
}

/// Gets the right to build worlds. `None`: this process has it. Otherwise the whole program, with the same arguments,
/// has run a second time in a user namespace where it has the right; exit with the status that is returned. To be
/// called before the program does anything else. A process with threads cannot change its own user namespace, hence
/// the second run.
///
/// # Errors
/// [`Error::NotPermitted`] if there is no way.
pub fn permit() -> Result<Option<ExitStatus>, Error> {
    match Netns::new() {
        Ok(_) => return Ok(None),
        Err(Error::NotPermitted) => {}
        Err(other) => return Err(other),
    }
    let program = env::current_exe().map_err(Error::system("find this program"))?;
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let mut command = in_user_namespace(program.as_ref())?;
    command.args(arguments).status().map(Some).map_err(Error::system("run in a user namespace"))
}

/// A command that will run `program` as root of a new user namespace.
///
/// # Errors
/// If the kernel does not allow that, or this process is in such a namespace already and has no right even so.
pub fn in_user_namespace(program: &std::ffi::OsStr) -> Result<Command, Error> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "--"]);
        command
    };
    if env::var_os(INSIDE).is_some() {
        return Err(Error::NotPermitted);
    }
    match unshare().arg("true").output() {
        Ok(output) if output.status.success() => {}
        Ok(_) => return Err(Error::NotPermitted),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Missing { program: "unshare", package: "util-linux" });
        }
        Err(error) => return Err(Error::system("start a program")(error)),
    }
    let mut command = unshare();
    command.arg(program).env(INSIDE, "1");
    Ok(command)
}
