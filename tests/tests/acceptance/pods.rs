//! The mesh in the networks of its pods: each process in a namespace of its own, under the network policies that are
//! deployed. The shop works; a showcase that somebody has taken over reaches nothing of commerce but the product feed.
//! Without the policies, certificates and authorization stop it just the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use std::thread;

use acceptance::cli::{self, Ran, repository};
use acceptance::netns::Network;
use acceptance::wire::{Identity, call, channel, handshake, loopback_name, plain_channel, tls, web_tls};
use acceptance::{Mesh, Options, eventually};
use bytes::Bytes;
use tonic::Code;

use crate::edges::Edge;

/// Workloads, services and policies.
const DEPLOYED: [&str; 3] =
    ["deploy/kubernetes/base", BANK, "deploy/kubernetes/overlays/local/sekat-commerce.external.yaml"];
/// The same without policies.
const UNPROTECTED: [&str; 3] = ["deploy/kubernetes/base/commerce", "deploy/kubernetes/base/showcase", BANK];
const BANK: &str = "deploy/kubernetes/overlays/local/bank.yaml";

/// All that the showcase may connect to.
const REACHABLE: [&str; 1] = ["catalog feed"];

/// The showcase in the hands of somebody else: its network and its identity are theirs.
struct TakenOver {
    network: Network,
    identity: Identity,
    /// Addresses of listeners of others in the network of pods.
    others: BTreeMap<String, SocketAddr>,
}

impl TakenOver {
    fn of(mesh: &Mesh) -> Self {
        let running = mesh.running();
        let others = running.pods.iter().filter(|(name, _)| !name.starts_with("showcase ") && *name != "bank control");
        let others = others.map(|(name, address)| (name.clone(), address.parse().unwrap())).collect();
        Self {
            network: Network::of(running.pids["showcase"]),
            identity: Identity::read(&mesh.identity("showcase")),
            others,
        }
    }

    /// To whom it gets a connection.
    fn reached(&self) -> BTreeSet<&str> {
        thread::scope(|scope| {
            let tries = self.others.iter().map(|(name, address)| {
                let connect = || self.network.connect(*address).is_ok().then_some(name.as_str());
                scope.spawn(connect)
            });
            let tries: Vec<_> = tries.collect();
            tries.into_iter().filter_map(|tried| tried.join().unwrap()).collect()
        })
    }

    async fn way_to(&self, listener: &str) -> String {
        self.network.way_to(self.others[listener]).await
    }
}

fn in_pods(manifests: &[&str]) -> Mesh {
    let with =
        |options: Options, path: &&str| options.argument("-f").argument(repository().join(path).to_str().unwrap());
    Mesh::start(manifests.iter().fold(Options::seeded(), with))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_lets_a_purchase_pass_and_a_showcase_that_was_taken_over_nowhere() {
    let mesh = in_pods(&DEPLOYED);
    let story = mesh.purchase();
    assert!(story.steps.iter().any(|step| step.domain == "bank"), "the provider was reached and paid: {story:?}");
    nothing_else_listens(&mesh);
    let taken = TakenOver::of(&mesh);
    assert!(taken.others.len() >= 18, "every port of every pod: {:?}", taken.others);
    assert_eq!(taken.reached(), BTreeSet::from(REACHABLE), "everything else is dropped on the way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_network_policy_certificates_and_authorization_hold() {
    let mesh = in_pods(&UNPROTECTED);
    let _paid = mesh.purchase();
    let taken = TakenOver::of(&mesh);
    let all: BTreeSet<&str> = taken.others.keys().map(String::as_str).collect();
    assert_eq!(taken.reached(), all, "nothing is dropped any more");

    let edges = Edge::all();
    let paths: BTreeSet<&str> = edges.iter().map(|edge| edge.path.as_str()).collect();
    let allowed: BTreeSet<&str> =
        edges.iter().filter(|edge| edge.caller == "showcase").map(|edge| edge.path.as_str()).collect();
    assert!(paths.len() > 60 && allowed.len() == 3, "the whole call graph: {} {allowed:?}", paths.len());
    for listener in all {
        let address = taken.way_to(listener).await;
        match listener.split_once(' ') {
            Some((workload, "mesh")) => {
                handshake(&address, tls(Some(&taken.identity))).await.unwrap_err();
                let log = mesh.data().join(format!("logs/{workload}.log"));
                let named = |line: &str| line.contains("foreign_trust_domain") && line.contains("sekat.local/showcase");
                eventually(&format!("{workload} says whom it refused"), async || {
                    std::fs::read_to_string(&log).unwrap().lines().any(named).then_some(())
                })
                .await;
            }
            Some((_, "feed")) => {
                let feed = channel(&address, tls(Some(&taken.identity)), loopback_name());
                for path in paths.difference(&allowed) {
                    let outcome = call(&feed, path, None, Bytes::new()).await;
                    assert!(outcome.is_denied_by_policy(), "{path} at {listener}: {outcome:?}");
                }
            }
            Some((_, "health")) => {
                let health = plain_channel(&address);
                for path in &paths {
                    let outcome = call(&health, path, None, Bytes::new()).await;
                    assert_eq!(outcome.code(), Some(Code::Unimplemented), "{path} at {listener}: {outcome:?}");
                }
            }
            Some((edge, "public")) => {
                let public = channel(&address, web_tls(&mesh.running().web_authority), loopback_name());
                for path in paths.difference(&open_to_anybody(&edges, edge)) {
                    let outcome = call(&public, path, None, Bytes::new()).await;
                    let refused = [Code::PermissionDenied, Code::Unauthenticated, Code::Unimplemented];
                    let code = outcome.code();
                    assert!(code.is_some_and(|code| refused.contains(&code)), "{path} at {listener}: {outcome:?}");
                }
            }
            _ => assert_eq!(listener, "bank", "every kind of listener is tried"),
        }
    }
}

/// What an edge forwards for people who have not signed in: browsing, signing up and signing in.
fn open_to_anybody<'a>(edges: &'a [Edge], edge: &str) -> BTreeSet<&'a str> {
    let of_edge = edges.iter().filter(|it| it.caller == edge && it.scopes.iter().any(|scope| scope == "ANONYMOUS"));
    of_edge.map(|it| it.path.as_str()).collect()
}

/// No store, no debugging port: a pod listens where its manifest says, and nowhere else.
fn nothing_else_listens(mesh: &Mesh) {
    let running = mesh.running();
    for (process, pid) in &running.pids {
        let mine = |name: &&String| name.as_str() == process || name.starts_with(&format!("{process} "));
        let declared: BTreeSet<u16> = running
            .pods
            .iter()
            .filter(|(name, _)| mine(name))
            .map(|(_, address)| address.parse::<SocketAddr>().unwrap().port())
            .collect();
        assert!(!declared.is_empty(), "{process} has a pod: {:?}", running.pods);
        assert_eq!(listening(*pid), declared, "{process}");
    }
}

/// The TCP ports on which anybody listens in the network of that process.
fn listening(pid: u32) -> BTreeSet<u16> {
    const LISTEN: &str = "0A";
    let tables = ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1));
    let columns = rows.map(|row| row.split_whitespace().collect::<Vec<_>>()).filter(|columns| columns[3] == LISTEN);
    columns.map(|columns| u16::from_str_radix(columns[1].rsplit_once(':').unwrap().1, 16).unwrap()).collect()
}

/// What the analyser says of manifests without sending anything, and what packets do, cell by cell.
#[test]
fn packets_do_what_the_analyser_says_cell_by_cell() {
    let run = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let Ran { code, stdout, stderr } = cli::run(cli::command().current_dir(repository()).args(arguments));
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        let array = serde_json::from_str::<Vec<serde_json::Value>>(&stdout);
        array.unwrap_or_else(|_| stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    };
    let said = run(&["reach", "-f", DEPLOYED[0], "-f", BANK, "--format", "json"]);
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    let conns: BTreeMap<(String, String), String> =
        said.iter().map(|row| ((text(row, "src"), text(row, "dst")), text(row, "conn"))).collect();
    let (mut reached, mut denied) = (0, 0);
    for row in run(&["packets", "-f", DEPLOYED[0], "-f", BANK, "--format", "json"]) {
        let (src, dst) = (text(&row, "src"), text(&row, "dst"));
        if !(src.contains('[') && dst.contains('[')) {
            // The node and addresses outside have other names there; the packets themselves are held against the
            // policies by `sekat packets`.
            continue;
        }
        let port = u16::try_from(row["port"].as_u64().unwrap()).unwrap();
        let said = conns.get(&(src.clone(), dst.clone())).is_some_and(|conn| has(conn, &text(&row, "protocol"), port));
        assert_eq!(text(&row, "observed") == "reached", said, "{src} -> {dst} {port}: {row}");
        *(if said { &mut reached } else { &mut denied }) += 1;
    }
    assert!(reached >= 15 && denied >= 900, "{reached} reached, {denied} denied");
}

/// Whether a connection set such as `TCP 80,443-445` has a port.
fn has(conn: &str, protocol: &str, port: u16) -> bool {
    if conn == "All Connections" {
        return true;
    }
    let mut words = conn.split([' ', ';']).filter(|word| !word.is_empty());
    let mut current = "";
    words.any(|word| match word.chars().next() {
        Some('0'..='9') => {
            current == protocol
                && word.split(',').any(|range| {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    (first.parse::<u16>().unwrap()..=last.parse().unwrap()).contains(&port)
                })
        }
        _ => {
            current = word;
            false
        }
    })
}

/// Somebody without rights on this machine: they have them in a user namespace of their own.
#[test]
fn anybody_may_send_packets() {
    const NOBODY: &str = "65534";
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &std::path::Path| {
        let to = folder.path().join(from.file_name().unwrap());
        assert!(Command::new("cp").arg("-r").arg(from).arg(&to).status().unwrap().success());
        to
    };
    let (program, manifests) = (copy(&cli::programs().join("sekat")), copy(&repository().join(DEPLOYED[0])));
    assert!(Command::new("chmod").args(["-R", "a+rX"]).arg(folder.path()).status().unwrap().success());
    let mut command = if rustix::process::getuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    let Ran { code, stdout, stderr } = cli::run(command.arg("packets").arg("-f").arg(manifests));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("cells are as the policies say") && !stdout.contains("\n!"), "{stdout}");
}
