//! `bench call`: the CPU that a server spends on one call. Three servers take turns in every round, each a process of
//! its own, called by one client with the same requests (a deadline and a trace of its own on each):
//!
//! - `bare`: tonic behind mutual TLS, as its documentation has it;
//! - `public`: the mesh's stack (authorization, deadline, limits, counters, a span for each call);
//! - `recorded`: the same with a method that touches USER data: an access record is durable before the answer.

mod bare;
mod client;
mod echo;
mod workload;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use sekat_identity::Source;
use sekat_identity::ca::{CertificateAuthority, write_identity};
use serde::Serialize;

use self::client::Server;
use crate::report::{Budget, median};
use crate::shop;

/// The stack without an access record, as a multiple of bare tonic.
const BUDGET_PUBLIC: f64 = 1.15;
/// The stack with one.
const BUDGET_RECORDED: f64 = 1.4;
const TRUST_DOMAIN: &str = "bench.sekat.local";
/// The names of server and client in the trust domain.
const ECHO: &str = "echo";
const CALLER: &str = "caller";
/// Longer than any measurement.
const IDENTITY_LIFE: Duration = Duration::from_secs(60 * 60);

/// Flags of `bench call`.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// Rounds; in each, every server has its turn.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u8).range(1..=101))]
    rounds: u8,
    /// Calls of one turn.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    calls: u32,
    /// Calls at a time, spread over four connections. The default keeps a server at work while some of its calls wait
    /// for the disk; one shows what a call costs a server that was idle before it.
    #[arg(long, default_value_t = 192, value_parser = clap::value_parser!(u32).range(1..=512))]
    at_once: u32,
}

impl Default for Args {
    fn default() -> Self {
        Self { rounds: 11, calls: 20_000, at_once: 192 }
    }
}

/// Flags of one of the servers; all else is in its environment, as for any workload.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct ServerArgs {
    #[arg(long, value_enum)]
    role: Role,
}

/// Which server a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    Bare,
    Public,
    Recorded,
}

impl Role {
    const ALL: [Self; 3] = [Self::Bare, Self::Public, Self::Recorded];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Public => "public",
            Self::Recorded => "recorded",
        }
    }
}

/// What calls cost.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    rounds: u8,
    calls: u32,
    at_once: u32,
    servers: Vec<Cost>,
    budgets: Vec<Budget>,
}

/// The cost of one server's calls: medians over the rounds.
#[derive(Debug, Serialize)]
struct Cost {
    server: &'static str,
    cpu_us_per_call: f64,
    calls_per_second: f64,
    /// CPU as a multiple of the bare server's in the same round.
    times_bare: f64,
}

/// Runs one of the servers until its standard input ends.
pub(crate) fn serve(args: &ServerArgs) -> ExitCode {
    match args.role {
        Role::Bare => bare::run(),
        Role::Public => workload::run_public(),
        Role::Recorded => workload::run_recorded(),
    }
}

/// Measures in a directory of its own.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Outcome> {
    let directory = shop::temporary()?;
    issue(directory.path())?;
    let identity = Source::open(&directory.path().join(CALLER)).await?;
    let mut servers = Vec::new();
    for role in Role::ALL {
        servers.push(Server::start(role, directory.path(), &identity).await?);
    }
    let mut turns: Vec<Vec<client::Turn>> = servers.iter().map(|_| Vec::new()).collect();
    for round in 0..=args.rounds {
        anstream::eprintln!("call: round {round} of {}, {} calls to each server", args.rounds, args.calls);
        let mut order: Vec<_> = servers.iter().zip(&mut turns).collect();
        // Whoever comes first would always find the machine in the same state.
        if round % 2 == 1 {
            order.reverse();
        }
        for (server, turns) in order {
            let turn = server.turn(args).await.with_context(|| format!("calling {}", server.role().name()))?;
            // The first round warms up.
            if round > 0 {
                turns.push(turn);
            }
        }
    }
    Ok(outcome(args, &turns))
}

/// Gives server and client their identities.
fn issue(directory: &Path) -> anyhow::Result<()> {
    let authority = CertificateAuthority::new(TRUST_DOMAIN)?;
    for name in [ECHO, CALLER] {
        let issued = authority.issue(&echo::id(name)?, IDENTITY_LIFE)?;
        write_identity(&directory.join(name), &issued, authority.bundle_pem(), &[])?;
    }
    Ok(())
}

fn outcome(args: &Args, turns: &[Vec<client::Turn>]) -> Outcome {
    let cpu = |of: &[client::Turn]| of.iter().map(|turn| turn.cpu_us_per_call).collect::<Vec<_>>();
    let bare = turns.first().map(|turns| cpu(turns)).unwrap_or_default();
    let cost = |(role, turns): (Role, &Vec<client::Turn>)| {
        let cpu = cpu(turns);
        let times: Vec<f64> = cpu.iter().zip(&bare).map(|(own, bare)| own / bare).collect();
        let rates: Vec<f64> = turns.iter().map(|turn| turn.calls_per_second).collect();
        Cost {
            server: role.name(),
            cpu_us_per_call: median(&cpu),
            calls_per_second: median(&rates),
            times_bare: median(&times),
        }
    };
    let servers: Vec<Cost> = Role::ALL.into_iter().zip(turns).map(cost).collect();
    let times = |role: Role| servers.iter().find(|cost| cost.server == role.name()).map_or(0.0, |cost| cost.times_bare);
    let budgets = vec![
        Budget::new("authorized, traced call ÷ bare mutual TLS", " x", times(Role::Public), BUDGET_PUBLIC),
        Budget::new("the same with an access record", " x", times(Role::Recorded), BUDGET_RECORDED),
    ];
    Outcome { rounds: args.rounds, calls: args.calls, at_once: args.at_once, servers, budgets }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, calls, at_once, .. } = self;
        writeln!(f, "server CPU of one unary call, {at_once} at once, medians of {rounds} rounds of {calls} calls")?;
        writeln!(f, "  {:<10} {:>12} {:>12} {:>8}", "server", "µs a call", "calls a s", "x bare")?;
        for Cost { server, cpu_us_per_call, calls_per_second, times_bare } in &self.servers {
            writeln!(f, "  {server:<10} {cpu_us_per_call:>12.1} {calls_per_second:>12.0} {times_bare:>8.2}")?;
        }
        self.budgets.iter().try_for_each(|budget| writeln!(f, "{budget}"))
    }
}
