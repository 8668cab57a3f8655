//! The account service's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    sekat_mesh::run("account", sekat_account::Config::read, sekat_account::build)
}
