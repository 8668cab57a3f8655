//! A whole process: what it says, and with which code it ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{World, eventually, serving};

const ID: &str = "spiffe://commerce.sekat.local/smallest";

/// `examples/smallest.rs`, which cargo builds beside the tests.
fn smallest() -> Command {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().unwrap().parent().unwrap();
    let mut command = Command::new(profile.join("examples/smallest"));
    command.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Ready {
    world: World,
    child: Child,
    ready: PathBuf,
}

impl Ready {
    fn start(more: &[(&str, &str)]) -> Self {
        Self::start_in(World::new(), more)
    }

    /// In a world in which another one may have run before.
    fn start_in(world: World, more: &[(&str, &str)]) -> Self {
        let ready = world.path("ready");
        let _ = std::fs::remove_file(&ready);
        let child = smallest()
            .env("SEKAT_IDENTITY_DIR", world.issue(ID, Duration::from_secs(600)))
            .env("SEKAT_HEALTH_LISTEN", "127.0.0.1:0")
            .env("SEKAT_EXAMPLE_TICK", "10ms")
            .env("SEKAT_READY_FILE", &ready)
            .env("SEKAT_PROFILE", "dev")
            .env("SEKAT_LOG_FORMAT", "json")
            .env("SEKAT_DATA_DIR", world.dir.path())
            .env("SEKAT_OTLP", format!("file:{}", world.path("otlp").display()))
            .envs(more.iter().copied())
            .spawn()
            .unwrap();
        Self { world, child, ready }
    }

    async fn health(&self) -> SocketAddr {
        eventually("it is ready", async || self.ready.exists()).await;
        let addresses: BTreeMap<String, SocketAddr> =
            serde_json::from_slice(&std::fs::read(&self.ready).unwrap()).unwrap();
        addresses["health"]
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(self) -> (World, Output) {
        (self.world, self.child.wait_with_output().unwrap())
    }
}

#[test]
fn a_wrong_environment_is_reported_whole_with_code_2() {
    let output = smallest()
        .env("SEKAT_HEALTH_LISTEN", "nowhere")
        .env("SEKAT_PROFILE", "test")
        .env("SEKAT_UPSTREAM_PAYMENT", "payment")
        .env("SEKAT_SAMPLE_RATIO", "2")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    for name in [
        "SEKAT_IDENTITY_DIR is required",
        "SEKAT_HEALTH_LISTEN must be",
        "SEKAT_PROFILE must be",
        "SEKAT_UPSTREAM_PAYMENT must be",
        "SEKAT_SAMPLE_RATIO must be",
        "SEKAT_EXAMPLE_TICK is required",
    ] {
        assert!(said.contains(name), "{name} is missing in:\n{said}");
    }
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn sigterm_ends_in_order_with_code_0() {
    let process = Ready::start(&[]);
    let health = process.health().await;
    assert!(serving(health).await);
    process.signal(Signal::TERM);
    let (world, output) = process.end();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));

    let log = String::from_utf8(output.stderr).unwrap();
    let ready = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let ready = ready.into_iter().find(|line| line["message"] == "ready").expect("a line that says ready");
    assert_eq!(ready["workload"], "smallest");
    assert!(ready["addresses"].as_str().unwrap().contains(&health.to_string()));
    let totals = totals(&world.path("smallest.counters.json"));
    assert_eq!((&totals["spans_dropped"], &totals["ended"]), (&0.into(), &true.into()));
}

/// The first line of a file of counters.
fn totals(path: &Path) -> serde_json::Value {
    let counters = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(counters.lines().next().unwrap()).unwrap()
}

#[tokio::test]
async fn a_run_leaves_its_counters_also_when_it_is_killed_and_when_another_follows() {
    let first = Ready::start(&[]);
    let newest = first.world.path("smallest.counters.json");
    eventually("it has written counters", async || newest.exists()).await;
    first.signal(Signal::KILL);
    let (world, _) = first.end();
    let killed = totals(&newest);
    assert_eq!(killed["ended"], false);
    assert!(killed["began_ns"].as_u64() <= killed["counted_ns"].as_u64(), "{killed}");

    let second = Ready::start_in(world, &[]);
    second.health().await;
    second.signal(Signal::TERM);
    let (world, _) = second.end();
    let ended = totals(&newest);
    assert_eq!(ended["ended"], true);
    assert_ne!(ended["instance"], killed["instance"]);
    let kept = world.path(&format!("{}.before.counters.json", ended["instance"].as_str().unwrap()));
    assert_eq!(totals(&kept), killed);
}

#[tokio::test]
async fn a_fatal_error_ends_with_code_1_and_its_causes() {
    let (_world, output) = Ready::start(&[("SEKAT_EXAMPLE_BREAKS", "true")]).end();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.lines().any(|line| line == "smallest: the example broke, as it was told to: the disk is full"),
        "{said}"
    );
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    // In production there is a lame-duck second in which the second signal arrives.
    let process = Ready::start(&[("SEKAT_PROFILE", "prod")]);
    let health = process.health().await;
    process.signal(Signal::INT);
    eventually("it is not serving", async || !serving(health).await).await;
    process.signal(Signal::INT);
    assert_eq!(process.end().1.status.code(), Some(130));
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_world, output) = Ready::start(&[("SEKAT_HEALTH_LISTEN", &address)]).end();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("SEKAT_HEALTH_LISTEN") && said.contains(&address), "{said}");
}
