//! `sekat`: runs the shop on this machine and walks a purchase through it. Data goes to stdout, all else to stderr.

mod buy;
mod edges;
mod exit;
mod layout;
mod story;
mod trace;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::exit::Exit;
use crate::story::Format;

/// A shop whose social showcase and commerce back end are different systems behind one app.
#[derive(Parser)]
#[command(name = "sekat", version, about, max_term_width = 100, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the whole mesh on this machine, each service a process of its own, mutual TLS between them.
    Up(up::Args),
    /// Walks one purchase through a running mesh and tells what happened where.
    Buy(buy::Args),
    /// Prints a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where a mesh keeps its state.
#[derive(Clone, clap::Args)]
struct Data {
    /// The data directory: identities, stores, traces, logs.
    #[arg(long, value_name = "DIR", default_value = "data", env = "SEKAT_DATA")]
    data: PathBuf,
}

/// How output is written.
#[derive(Clone, Copy, clap::Args)]
struct Output {
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let result = match cli.command {
        Command::Up(args) => runtime().and_then(|runtime| runtime.block_on(up::run(args))),
        Command::Buy(args) => runtime().and_then(|runtime| runtime.block_on(buy::run(args))),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "sekat", &mut std::io::stdout());
            Ok(Exit::Holds)
        }
    };
    exit::report(result)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
