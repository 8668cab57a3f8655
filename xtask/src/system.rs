//! Packages of the system: installed by its own package manager where we may, otherwise the command is told.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::ensure;

use crate::process;
use crate::report::Verdict;

/// What tests with network namespaces need: each program, and the Debian package that has it.
const NETWORK: [(&str, &str); 3] = [("ip", "iproute2"), ("nft", "nftables"), ("setpriv", "util-linux")];

/// Sees to it that network namespaces can be made and filtered.
pub(crate) fn network() -> anyhow::Result<Verdict> {
    let missing = |(program, package): &(&'static str, &'static str)| (!answers(program)).then_some(*package);
    let packages: Vec<&str> = NETWORK.iter().filter_map(missing).collect();
    if packages.is_empty() {
        return Ok(Verdict::Passed);
    }
    if !install(&packages)? {
        let reason = format!("programs are missing. On Debian: {}", command(&packages));
        return Ok(Verdict::NotRun { reason, required: true });
    }
    let still: Vec<&str> = NETWORK.iter().filter_map(missing).collect();
    ensure!(still.is_empty(), "{} do not work: see the messages of apt-get above", still.join(", "));
    Ok(Verdict::Passed)
}

/// Whether it is for us to install packages.
pub(crate) fn may_install() -> bool {
    let is_root = process::capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    is_root && Path::new("/usr/bin/apt-get").exists()
}

/// Installs packages with apt-get; false where that is not for us to do.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<bool> {
    if !may_install() {
        return Ok(false);
    }
    process::run(Command::new("apt-get").args(["update", "--quiet"]))?;
    process::run(Command::new("apt-get").args(["install", "-y", "--no-install-recommends"]).args(packages))?;
    Ok(true)
}

/// How a user installs packages.
pub(crate) fn command(packages: &[&str]) -> String {
    format!("sudo apt-get install -y {}", packages.join(" "))
}

/// Whether a program can be started. They are in `sbin`, which is not on every user's path, and ours look there too.
fn answers(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.arg("--version").env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
