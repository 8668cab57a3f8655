//! The order service's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    sekat_mesh::run("order", sekat_order::Config::read, sekat_order::build)
}
