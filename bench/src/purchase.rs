//! `bench purchase`: buyers in a closed loop, each on a connection and with a session of its own, against a mesh of
//! separate processes that records every span and syncs every commit. From CreateCart with a handoff to PAID.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::app::{Bank, Buyer, channel};
use crate::goods::Goods;
use crate::process::{Machine, Usage};
use crate::report::{Budget, mebibytes, milliseconds, percentile};
use crate::shop::{Running, Shop, Site};
use crate::spans;

/// CPU milliseconds per purchase of two goods on SQLite.
const BUDGET_CPU_MS: f64 = 1.5;
/// Purchases of each buyer before the clock starts: they open the connections between all services.
const WARM_UP: usize = 3;
/// After the last purchase, for what purchases leave to be done later: spans are written every 200 ms.
const SETTLE: Duration = Duration::from_millis(500);
/// Buyers that sign up at the same time; each costs two password hashes.
const SIGN_UPS_AT_ONCE: usize = 4;

/// Flags of `bench purchase`.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// Purchases that are measured.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    purchases: u16,
    /// Buyers who buy at the same time, without a pause.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=64))]
    buyers: u8,
}

impl Default for Args {
    fn default() -> Self {
        Self { purchases: 2_000, buyers: 32 }
    }
}

/// What purchases cost.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    purchases: u16,
    buyers: u8,
    wall_seconds: f64,
    purchases_per_second: f64,
    latency_ms: Latency,
    cpu_ms_per_purchase: f64,
    resident_mib_idle: f64,
    resident_mib_after: f64,
    spans_per_purchase: f64,
    span_bytes_per_purchase: f64,
    /// How much of the machine went to processes that have no part in this, 0 to 1. They make every figure worse.
    others_share: f64,
    processes: Vec<Process>,
    budget: Budget,
}

/// From CreateCart to PAID.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p95: f64,
    p99: f64,
}

/// The part of one process.
#[derive(Debug, Serialize)]
struct Process {
    name: String,
    cpu_ms_per_purchase: f64,
    resident_mib_idle: f64,
    resident_mib_after: f64,
    /// By the stores, spans and logs of this process.
    written_kib_per_purchase: f64,
}

/// Measures in a shop that is seeded first if it is empty.
pub(crate) async fn run(args: &Args, site: &Site) -> anyhow::Result<Outcome> {
    anstream::eprintln!("purchase: filling a shop");
    let goods = {
        let shop = Shop::open(site).await?;
        let goods = Goods::offer(&commerce(&shop.running)?, &showcase(&shop.running)?).await?;
        shop.close().await?;
        goods
    };
    // A fresh start, so that idle memory is that of a shop that opens and not of one that was just filled.
    let shop = Shop::open(site).await?;
    let idle = usage(&shop.running)?;
    anstream::eprintln!("purchase: signing up {} buyers", args.buyers);
    let buyers = buyers(args.buyers.into(), &shop.running).await?;
    let warm_up = goods.handoffs(&showcase(&shop.running)?, buyers.len() * WARM_UP).await?;
    let handoffs = goods.handoffs(&showcase(&shop.running)?, args.purchases.into()).await?;
    buy(&buyers, warm_up, Traces::new()).await?;
    tokio::time::sleep(SETTLE).await;

    anstream::eprintln!("purchase: {} purchases by {} buyers", args.purchases, args.buyers);
    let traces = Traces::new();
    let span_bytes = spans::bytes(&shop.traces())?;
    let (before, started) = (Snapshot::take(&shop.running)?, Instant::now());
    let latencies = buy(&buyers, handoffs, traces).await?;
    let wall = started.elapsed();
    tokio::time::sleep(SETTLE).await;
    let after = Snapshot::take(&shop.running)?;
    let span_bytes = spans::bytes(&shop.traces())? - span_bytes;

    drop(buyers);
    let directory = shop.traces();
    shop.close().await?;
    let spans = spans::count(&directory, traces.prefix)?;
    Ok(outcome(args, wall, &latencies, &idle, [&before, &after], [spans, span_bytes]))
}

fn commerce(running: &Running) -> anyhow::Result<tonic::transport::Channel> {
    channel(&running.commerce_edge, &running.web_authority)
}

fn showcase(running: &Running) -> anyhow::Result<tonic::transport::Channel> {
    channel(&running.showcase_edge, &running.web_authority)
}

async fn buyers(count: usize, running: &Running) -> anyhow::Result<Vec<Arc<Buyer>>> {
    let bank = Bank::new(&running.bank_control);
    let sign_ups = (0..count).map(|_| {
        let bank = bank.clone();
        async move { Buyer::sign_up(commerce(running)?, bank).await.map(Arc::new) }
    });
    stream::iter(sign_ups).buffer_unordered(SIGN_UPS_AT_ONCE).try_collect().await
}

/// Uses up the handoffs, every buyer one after the other, and returns how long each purchase took.
async fn buy(buyers: &[Arc<Buyer>], handoffs: Vec<String>, traces: Traces) -> anyhow::Result<Vec<Duration>> {
    let handoffs = Arc::new(Mutex::new(handoffs.into_iter().enumerate()));
    let mut loops = JoinSet::new();
    for buyer in buyers {
        let (buyer, handoffs) = (Arc::clone(buyer), Arc::clone(&handoffs));
        let next = move || handoffs.lock().unwrap_or_else(PoisonError::into_inner).next();
        loops.spawn(async move {
            let mut latencies = Vec::new();
            while let Some((number, handoff)) = next() {
                let started = Instant::now();
                let bought = buyer.buy(handoff, &traces.traceparent(u64::try_from(number)?)).await;
                bought.with_context(|| format!("purchase {number}"))?;
                latencies.push(started.elapsed());
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(of_buyer) = loops.join_next().await {
        latencies.extend(of_buyer??);
    }
    Ok(latencies)
}

/// What everybody had used at one moment.
struct Snapshot {
    ours: BTreeMap<String, Usage>,
    /// The bank and this client.
    counterparts: Duration,
    machine: Machine,
}

impl Snapshot {
    fn take(running: &Running) -> anyhow::Result<Self> {
        let counterparts = Usage::of(running.bank()?)?.cpu + Usage::of(std::process::id())?.cpu;
        Ok(Self { ours: usage(running)?, counterparts, machine: Machine::now()? })
    }

    fn known(&self) -> Duration {
        self.ours.values().map(|usage| usage.cpu).sum::<Duration>() + self.counterparts
    }

    /// The share of the machine's time since `before` that went to processes which have no part in this.
    fn others_since(&self, before: &Self) -> f64 {
        let busy = self.machine.busy.saturating_sub(before.machine.busy);
        let known = self.known().saturating_sub(before.known());
        let total = self.machine.total.saturating_sub(before.machine.total);
        busy.saturating_sub(known).as_secs_f64() / total.as_secs_f64()
    }
}

fn usage(running: &Running) -> anyhow::Result<BTreeMap<String, Usage>> {
    let usage = |(name, pid): (String, u32)| {
        let usage = Usage::of(pid).with_context(|| format!("{name} cannot be measured"))?;
        Ok((name, usage))
    };
    running.processes().into_iter().map(usage).collect()
}

/// Trace ids that are known again in the span files.
#[derive(Clone, Copy)]
struct Traces {
    prefix: [u8; 8],
}

impl Traces {
    fn new() -> Self {
        let (prefix, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self { prefix: prefix.to_be_bytes() }
    }

    /// W3C Trace Context of one purchase's root span, sampled.
    fn traceparent(&self, number: u64) -> String {
        let (span, _) = uuid::Uuid::new_v4().as_u64_pair();
        format!("00-{:016x}{number:016x}-{span:016x}-01", u64::from_be_bytes(self.prefix))
    }
}

fn outcome(
    args: &Args,
    wall: Duration,
    latencies: &[Duration],
    idle: &BTreeMap<String, Usage>,
    [before, after]: [&Snapshot; 2],
    [spans, span_bytes]: [u64; 2],
) -> Outcome {
    let purchases = f64::from(args.purchases);
    let processes: Vec<Process> = after
        .ours
        .iter()
        .map(|(name, after)| {
            let [idle, before] = [idle, &before.ours].map(|usages| usages.get(name).copied().unwrap_or_default());
            Process {
                name: name.clone(),
                cpu_ms_per_purchase: milliseconds(after.cpu.saturating_sub(before.cpu)) / purchases,
                resident_mib_idle: mebibytes(idle.resident_bytes),
                resident_mib_after: mebibytes(after.resident_bytes),
                written_kib_per_purchase: (after.written_bytes - before.written_bytes) as f64 / 1_024.0 / purchases,
            }
        })
        .collect();
    let sum = |part: fn(&Process) -> f64| processes.iter().map(part).sum::<f64>();
    let cpu_ms_per_purchase = sum(|process| process.cpu_ms_per_purchase);
    let latencies: Vec<f64> = latencies.iter().copied().map(milliseconds).collect();
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|rank| percentile(&latencies, rank));
    Outcome {
        purchases: args.purchases,
        buyers: args.buyers,
        wall_seconds: wall.as_secs_f64(),
        purchases_per_second: purchases / wall.as_secs_f64(),
        latency_ms: Latency { p50, p95, p99 },
        cpu_ms_per_purchase,
        resident_mib_idle: sum(|process| process.resident_mib_idle),
        resident_mib_after: sum(|process| process.resident_mib_after),
        spans_per_purchase: spans as f64 / purchases,
        span_bytes_per_purchase: span_bytes as f64 / purchases,
        others_share: after.others_since(before),
        processes,
        budget: Budget::new("CPU per purchase of two goods", " ms", cpu_ms_per_purchase, BUDGET_CPU_MS),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            purchases, buyers, wall_seconds, purchases_per_second, latency_ms: Latency { p50, p95, p99 }, ..
        } = self;
        writeln!(f, "purchase of two goods, CreateCart with a handoff to PAID, all traced, every commit synced")?;
        writeln!(f, "  {purchases} by {buyers} buyers in {wall_seconds:.1} s: {purchases_per_second:.0} a second")?;
        writeln!(f, "  latency ms: p50 {p50:.1}, p95 {p95:.1}, p99 {p99:.1}")?;
        writeln!(
            f,
            "  spans: {:.1} and {:.0} bytes a purchase",
            self.spans_per_purchase, self.span_bytes_per_purchase
        )?;
        writeln!(f, "  {:.0} % of the machine went to other programs", self.others_share * 100.0)?;
        writeln!(f, "  {:<16} {:>8} {:>9} {:>9} {:>12}", "process", "CPU ms", "MiB idle", "MiB after", "KiB written")?;
        for process in &self.processes {
            let Process {
                name,
                cpu_ms_per_purchase,
                resident_mib_idle,
                resident_mib_after,
                written_kib_per_purchase: written,
            } = process;
            writeln!(
                f,
                "  {name:<16} {cpu_ms_per_purchase:>8.3} {resident_mib_idle:>9.1} {resident_mib_after:>9.1} \
                 {written:>12.1}"
            )?;
        }
        let Self { cpu_ms_per_purchase, resident_mib_idle, resident_mib_after, .. } = self;
        writeln!(f, "  {:<16} {cpu_ms_per_purchase:>8.3} {resident_mib_idle:>9.1} {resident_mib_after:>9.1}", "all")?;
        writeln!(f, "{}", self.budget)
    }
}
