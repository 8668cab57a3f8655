//! The merchant service's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    sekat_mesh::run("merchant", sekat_merchant::Config::read, sekat_merchant::build)
}
