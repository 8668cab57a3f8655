//! The process of an edge; `SEKAT_ROLE` says which one it is.

use std::process::ExitCode;

use sekat_edge::{Config, Role};

fn main() -> ExitCode {
    // A role that is missing or misspelt is reported by `Config::read`, with all else that is wrong.
    let workload = Role::of_process().map_or("edge", Role::workload);
    sekat_mesh::run(workload, Config::read, sekat_edge::build)
}
