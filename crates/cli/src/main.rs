//! `sekat`: runs the shop on this machine and walks a purchase through it; and tells of any mesh who may reach whom, who
//! can, and who did. Data goes to stdout, all else to stderr.

mod audit;
mod buy;
mod check;
mod compile;
mod edges;
mod exit;
mod findings;
mod layout;
mod manifests;
mod meant;
mod packets;
mod prove;
mod reach;
mod story;
mod trace;
mod up;
mod witness;

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
    /// Checks what is meant: contracts or a policy file by themselves, and code and manifests against them.
    Check(check::Args),
    /// Lists who can reach whom by Kubernetes manifests.
    Reach(reach::Args),
    /// Tells why one peer can reach another by Kubernetes manifests, or cannot: policy, rule and line.
    Explain(reach::ExplainArgs),
    /// Compares who can reach whom by two sets of manifests; exit code 3 if the second allows more.
    Diff(reach::DiffArgs),
    /// Sends real packets between all pods of Kubernetes manifests, under their network policies.
    Packets(packets::Args),
    /// Turns what is meant into policies of a cluster or a mesh, and reads them back.
    Compile(compile::Args),
    /// Holds recorded traces against what is meant: who called whom, and was it allowed.
    Audit(audit::Args),
    /// Drafts a policy file from recorded traces and manifests.
    Learn(audit::LearnArgs),
    /// Replays recorded calls against a changed policy and lists what would be denied.
    Shadow(audit::ShadowArgs),
    /// Runs every layer of the proof against a running mesh and writes signed evidence.
    Prove(prove::Args),
    /// Checks evidence again: every byte, the signature, and that the verdict follows.
    Verify(prove::VerifyArgs),
    /// Adds a signature to evidence that holds together.
    Sign(prove::SignArgs),
    /// Takes spans over mutual TLS, keeps them in hash-chained segments with who sent them, and passes them on.
    Witness(witness::Args),
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
        Command::Check(args) => check::run(&args),
        Command::Reach(args) => reach::run(&args),
        Command::Explain(args) => reach::explain(&args),
        Command::Diff(args) => reach::diff(&args),
        Command::Packets(args) => packets::run(&args),
        Command::Compile(args) => compile::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Learn(args) => audit::learn(&args),
        Command::Shadow(args) => audit::shadow(&args),
        Command::Prove(args) => runtime().and_then(|runtime| runtime.block_on(prove::run(args))),
        Command::Witness(args) => runtime().and_then(|runtime| runtime.block_on(witness::run(args))),
        Command::Verify(args) => prove::verify(&args),
        Command::Sign(args) => prove::sign(&args),
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
