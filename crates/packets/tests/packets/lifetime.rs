//! What a world leaves behind: nothing, also when its process is killed or a test panics.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sekat_packets::sweep;

use crate::support::{PODS, cluster, go_on, world};

const WEB: &str = "a/web[Deployment]";
/// Set in the process that is to be killed.
const VICTIM: &str = "SEKAT_PACKETS_TEST_VICTIM";
const LIMIT: Duration = Duration::from_secs(20);

/// The network namespaces that some process is in or holds open.
fn namespaces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for process in fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()) {
        let held = fs::read_dir(process.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
        let links = held.chain([process.join("ns/net")]).filter_map(|path| fs::read_link(path).ok());
        found.extend(links.map(|link| link.display().to_string()).filter(|link| link.starts_with("net:[")));
    }
    found
}

/// Of a world: the namespaces that its pods, its node and its outside have.
fn of(world: &sekat_packets::World) -> BTreeSet<String> {
    let inside = |name: &str| world.within(name, || fs::read_link("/proc/thread-self/ns/net")).unwrap();
    [WEB, "node", "192.0.2.1"].map(|name| inside(name).display().to_string()).into()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "in vain: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_run_leaves_nothing() {
    const TEST: &str = "lifetime::a_killed_run_leaves_nothing";
    if !go_on(TEST) {
        return;
    }
    if std::env::var_os(VICTIM).is_some() {
        be_the_victim();
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find_map(|line| line.strip_prefix("ready ").map(str::to_owned)).expect("the victim is ready");
    let (sleeper, spaces) = line.split_once(' ').unwrap();
    let spaces: BTreeSet<String> = spaces.split(' ').map(str::to_owned).collect();
    assert!(spaces.is_subset(&namespaces()), "they are seen while they are there");
    victim.kill().unwrap();
    victim.wait().unwrap();
    // A program in a pod outlives its owner until somebody sweeps, which each new world does.
    assert!(fs::exists(format!("/proc/{sleeper}")).unwrap(), "there is something to sweep");
    assert!(sweep() >= 1);
    eventually("the program in the pod ends", || {
        let state = fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    });
    eventually("the namespaces go", || spaces.is_disjoint(&namespaces()));
}

/// Builds a world with a program in it, says so, and waits for that program, which is longer than it lives.
fn be_the_victim() {
    let world = world(&cluster(PODS));
    let mut sleeper = world.command(WEB, "sleep").unwrap().arg("600").spawn().unwrap();
    let spaces = of(&world).into_iter().collect::<Vec<_>>().join(" ");
    // On a line of its own, past what the test runner writes.
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\nready {} {spaces}", sleeper.id()).unwrap();
    sleeper.wait().unwrap();
}

#[test]
fn a_world_that_is_dropped_ends_its_programs_and_a_panic_drops_it() {
    if !go_on("lifetime::a_world_that_is_dropped_ends_its_programs_and_a_panic_drops_it") {
        return;
    }
    let mut spaces = BTreeSet::new();
    let mut sleeper = None;
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let world = world(&cluster(PODS));
        sleeper = Some(world.command("node", "sleep").unwrap().arg("600").spawn().unwrap());
        spaces = of(&world);
        assert!(spaces.is_empty(), "a test fails");
    }));
    assert!(unwound.is_err());
    let status = sleeper.unwrap().wait().unwrap();
    assert!(!status.success(), "it was killed, it did not sleep to the end");
    eventually("the namespaces go", || spaces.is_disjoint(&namespaces()));
}

#[test]
fn a_program_in_a_pod_is_reached_from_this_machine_and_from_no_other_address() {
    if !go_on("lifetime::a_program_in_a_pod_is_reached_from_this_machine_and_from_no_other_address") {
        return;
    }
    let world = world(&cluster(PODS));
    let at = SocketAddr::new(world.address(WEB).unwrap().into(), 9);
    let listener = world.within(WEB, || TcpListener::bind(at)).unwrap();
    let server = std::thread::spawn(move || {
        let (mut client, peer) = listener.accept().unwrap();
        client.write_all(peer.ip().to_string().as_bytes()).unwrap();
    });
    let forward = world.forward(at).unwrap();
    let mut heard = String::new();
    TcpStream::connect(forward.address()).unwrap().read_to_string(&mut heard).unwrap();
    server.join().unwrap();
    assert_eq!(heard, world.address("node").unwrap().to_string(), "it comes from the node");
    assert!(world.within("b/web[Deployment]", || TcpStream::connect(at)).is_err(), "nobody listens any more");
    let closed = forward.address();
    drop(forward);
    eventually("the port is closed", || TcpStream::connect(closed).is_err());
    assert!(world.command("a/nobody[Pod]", "true").is_err());
}
