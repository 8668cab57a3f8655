//! The one door for developers and CI: what CI runs, a laptop runs.
//!
//! Standard output is data (paths, JSON); progress, findings and summaries go to standard error.

mod bench;
mod check;
mod crate_graph;
mod features;
mod pages;
mod process;
mod report;
mod seed;
mod sources;
mod system;
mod test;
mod tidy;
mod tools;
mod up;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report::Report;
use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Builds, runs and checks this repository")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build in release mode, start every process, and make one purchase
    Up {
        /// Arguments of `sekat up`, for instance `--data DIR`, `--jaeger`, `--once`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run every tier of tests, as CI does
    Test {
        /// Run one tier only
        #[arg(long, value_enum)]
        tier: Option<test::Tier>,
        /// Arguments of the test binaries, for instance a part of a test's name
        #[arg(last = true)]
        filter: Vec<OsString>,
    },
    /// Formatting, clippy, cargo-deny, buf and tidy
    Check,
    /// The repository's own rules: crate graph, shared builds, first lines, uncompiled files, forbidden words
    Tidy {
        /// Rewrite the golden crate graph, for review
        #[arg(long)]
        bless: bool,
    },
    /// Build in release mode and run the benchmarks
    Bench {
        /// Arguments of the benchmark program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Rewrite seed/products.tsv from seed/vocabulary/
    Seed,
    /// Install the tools that tests need and print their paths
    Tools {
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: tools::Format,
    },
    /// Rewrite proto/released.binpb, with which breaking changes are compared; only for a release
    ReleaseContracts,
    /// The second half of `up`: waits until the system is ready, then buys
    #[command(hide = true)]
    BuyWhenReady {
        #[arg(long)]
        sekat: PathBuf,
        #[arg(long)]
        data: PathBuf,
        /// The process whose end ends the waiting
        #[arg(long)]
        parent: u32,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    // Only where it is needed: the buyer starts beside a system that starts fast.
    let workspace = Workspace::read;
    match task {
        Task::Up { arguments } => return up::up(&workspace()?, &arguments),
        Task::BuyWhenReady { sekat, data, parent } => up::buy_when_ready(&sekat, &data, parent)?,
        Task::Test { tier, filter } => return Ok(test::test(&workspace()?, tier, &filter)),
        Task::Check => {
            let mut report = Report::new();
            check::check(&workspace()?, &mut report);
            return Ok(report.finish());
        }
        Task::Tidy { bless } => tidy::tidy(&workspace()?, bless)?,
        Task::Bench { arguments } => bench::bench(&workspace()?, &arguments)?,
        Task::Seed => seed::write(&workspace()?.root)?,
        Task::Tools { format } => return tools::print_all(&workspace()?, format),
        Task::ReleaseContracts => check::release_contracts(&workspace()?)?,
    }
    Ok(ExitCode::SUCCESS)
}
