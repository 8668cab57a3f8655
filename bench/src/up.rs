//! `bench up`: from the start of `sekat up --once` to the story of a paid order, seen from outside.

use std::fmt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::io::AsyncReadExt;

use crate::report::{Budget, median, milliseconds};
use crate::shop::Site;

/// Seconds from the start to a paid order, binaries built and store seeded.
const BUDGET_SECONDS: f64 = 3.0;
/// For one start, the seeding of an empty shop included.
const LIMIT: Duration = Duration::from_secs(180);

/// Flags of `bench up`.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// Starts that are measured, after one that seeds the shop.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
    starts: u8,
}

impl Default for Args {
    fn default() -> Self {
        Self { starts: 5 }
    }
}

/// How long each start took.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    to_paid_order_ms: Vec<f64>,
    median_ms: f64,
    budget: Budget,
}

/// Measures on a site whose shop may be empty.
pub(crate) async fn run(args: &Args, site: &Site) -> anyhow::Result<Outcome> {
    anstream::eprintln!("up: seeding a shop");
    once(site).await?;
    let mut to_paid_order_ms = Vec::new();
    for start in 1..=args.starts {
        anstream::eprintln!("up: start {start} of {}", args.starts);
        to_paid_order_ms.push(milliseconds(once(site).await?));
    }
    let median_ms = median(&to_paid_order_ms);
    let budget = Budget::new("start to paid order", " s", median_ms / 1_000.0, BUDGET_SECONDS);
    Ok(Outcome { to_paid_order_ms, median_ms, budget })
}

/// The time until the story is on standard output. The mesh then drains, which is no part of it.
async fn once(site: &Site) -> anyhow::Result<Duration> {
    let mut command = site.up()?;
    command.arg("--once").stdout(Stdio::piped());
    let running = async {
        let started = Instant::now();
        let mut child = command.spawn().context("`sekat up` cannot be started")?;
        let mut story = child.stdout.take().context("standard output is not piped")?;
        let read = story.read(&mut [0; 1]).await?;
        let elapsed = started.elapsed();
        story.read_to_end(&mut Vec::new()).await?;
        let status = child.wait().await?;
        if read == 0 || !status.success() {
            bail!("`sekat up --once` ended with {status}:\n{}", site.said());
        }
        Ok(elapsed)
    };
    tokio::time::timeout(LIMIT, running).await.with_context(|| format!("no order was paid:\n{}", site.said()))?
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> = self.to_paid_order_ms.iter().map(|time| format!("{time:.0}")).collect();
        writeln!(f, "start of the mesh to a paid order, store seeded")?;
        writeln!(f, "  median {:.0} ms of {}", self.median_ms, each.join(" "))?;
        writeln!(f, "{}", self.budget)
    }
}
