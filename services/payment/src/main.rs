//! The payment process.

use std::process::ExitCode;

use sekat_payment::config::Config;
use sekat_payment::{WORKLOAD, build};

fn main() -> ExitCode {
    sekat_mesh::run(WORKLOAD, Config::read, build)
}
