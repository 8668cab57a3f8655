//! The showcase service's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    sekat_mesh::run("showcase", sekat_showcase::Config::read, sekat_showcase::build)
}
