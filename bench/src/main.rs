//! `bench`: what a purchase, a call and a start cost, each as a ratio or a budget and never as a bare time. Results go
//! to stdout, all else to stderr. Whether a budget is met is said and decides nothing: the exit code is 0 if it ran.

mod app;
mod call;
mod goods;
mod process;
mod purchase;
mod report;
mod shop;
mod spans;
mod up;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::shop::Site;

/// Measures the release build beside this program.
#[derive(Parser)]
#[command(name = "bench", version, about, max_term_width = 100)]
struct Cli {
    /// All of them, if none is named.
    #[command(subcommand)]
    command: Option<Command>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Human, global = true)]
    format: Format,
}

#[derive(Subcommand)]
enum Command {
    /// CPU, latency and memory of purchases in a running mesh, spans and fsync included.
    Purchase(purchase::Args),
    /// Server CPU of one call: the mesh's stack against bare tonic with mutual TLS.
    Call(call::Args),
    /// The time from `sekat up --once` to a paid order.
    Up(up::Args),
    /// One of the servers that `call` measures.
    #[command(hide = true)]
    CallServer(call::ServerArgs),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

/// What was measured.
#[derive(Default, Serialize)]
struct Results {
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<call::Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    up: Option<up::Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purchase: Option<purchase::Outcome>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Command::CallServer(args)) => return call::serve(&args),
        command => runtime().and_then(|runtime| runtime.block_on(measure(command, cli.format))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot be started")
}

async fn measure(command: Option<Command>, format: Format) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Dropping the work kills what it started and removes its files.
    let results = tokio::select! {
        results = run(command) => results?,
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
    };
    match format {
        Format::Json => anstream::println!("{}", serde_json::to_string_pretty(&results)?),
        Format::Human => {
            let Results { call, up, purchase } = results;
            call.iter().for_each(|outcome| anstream::println!("{outcome}"));
            up.iter().for_each(|outcome| anstream::println!("{outcome}"));
            purchase.iter().for_each(|outcome| anstream::println!("{outcome}"));
        }
    }
    Ok(())
}

async fn run(command: Option<Command>) -> anyhow::Result<Results> {
    let mut results = Results::default();
    match command {
        Some(Command::Call(args)) => results.call = Some(call::run(&args).await?),
        Some(Command::Up(args)) => results.up = Some(up::run(&args, &Site::new()?).await?),
        Some(Command::Purchase(args)) => results.purchase = Some(purchase::run(&args, &Site::new()?).await?),
        Some(Command::CallServer(_)) | None => {
            results.call = Some(call::run(&call::Args::default()).await?);
            let site = Site::new()?;
            results.up = Some(up::run(&up::Args::default(), &site).await?);
            results.purchase = Some(purchase::run(&purchase::Args::default(), &site).await?);
        }
    }
    Ok(results)
}
