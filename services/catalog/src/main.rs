//! The catalog service's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    sekat_mesh::run("catalog", sekat_catalog::Config::read, sekat_catalog::build)
}
