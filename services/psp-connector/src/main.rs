//! The connector's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    sekat_mesh::run("psp-connector", sekat_psp_connector::Config::read, sekat_psp_connector::build)
}
