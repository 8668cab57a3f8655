//! Network namespaces without names: a descriptor of this process is all that holds one. When the process ends, by
//! whatever means, the kernel removes the namespace, its links and its rules; there is nothing to clean up.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::{self, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::Error;

/// A network namespace.
pub(crate) struct Netns(OwnedFd);

impl Netns {
    /// Makes a new one, with nothing in it but a loopback interface that is down.
    pub(crate) fn new() -> Result<Self, Error> {
        in_thread(|| {
            unshare_network().map_err(|error| match error {
                rustix::io::Errno::PERM => Error::NotPermitted,
                other => Error::system("make a network namespace")(other),
            })?;
            let file = File::open("/proc/thread-self/ns/net").map_err(Error::system("open a network namespace"))?;
            Ok(Self(file.into()))
        })
    }

    /// Runs `work` inside, on a thread of its own. Sockets that it makes stay inside, whoever uses them.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
        in_thread(|| {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(Error::system("enter a network namespace"))?;
            work()
        })
    }

    /// A path by which other programs of this user find it as long as this process lives.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }

    /// Runs a batch of `ip` inside.
    pub(crate) fn ip(&self, batch: &str) -> Result<(), Error> {
        self.enter(|| run("ip", "iproute2", &["-batch", "-"], batch).map(drop))
    }

    /// Loads rules of `nft` inside, all of them or none.
    pub(crate) fn nft(&self, rules: &str) -> Result<(), Error> {
        self.enter(|| run("nft", "nftables", &["-f", "-"], rules).map(drop))
    }

    /// Asks `nft` inside, in its JSON.
    pub(crate) fn ask_nft(&self, question: &[&str]) -> Result<serde_json::Value, Error> {
        let answer = self.enter(|| run("nft", "nftables", &[&["-j"], question].concat(), ""))?;
        serde_json::from_slice(&answer).map_err(|source| Error::Answer { program: "nft", source: Some(source) })
    }
}

#[expect(deprecated, reason = "what is unsafe about it is to unshare descriptors, and this unshares the network only")]
fn unshare_network() -> rustix::io::Result<()> {
    rustix::thread::unshare(UnshareFlags::NEWNET)
}

/// A namespace belongs to a thread, so whoever changes it must not be a thread that others use afterwards.
fn in_thread<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Runs a program in the namespace of this thread and returns what it wrote to standard output.
fn run(program: &'static str, package: &'static str, arguments: &[&str], input: &str) -> Result<Vec<u8>, Error> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Debian keeps both programs where a plain user's PATH does not look.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { program, package },
        _ => Error::system("start a program")(error),
    })?;
    // Neither program writes before it has read all, so that this cannot block both sides. One that has given up
    // closes the pipe; what it says then is worth more than the broken pipe.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(Error::system("wait for a program"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Program { program, stderr });
    }
    written.map_err(Error::system("write to a program"))?;
    Ok(output.stdout)
}
