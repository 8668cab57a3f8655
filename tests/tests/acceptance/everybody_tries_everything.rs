//! Every identity tries every method on every port between workloads, wrong ports too. What the reviewed call graph
//! allows reaches its handler; all else is PERMISSION_DENIED or does not get through TLS. The mesh's own counters and
//! access records must agree, call by call.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use acceptance::shop::{Person, SessionScope};
use acceptance::wire::{Identity, Outcome, call_within, mint, server_of};
use acceptance::{Mesh, Options};
use bytes::Bytes;
use futures_util::future::join_all;
use sekat_identity::ca::CertificateAuthority;
use tonic::Code;
use tonic::transport::Channel;

use crate::edges::{Edge, GARBAGE, UNKNOWN, domain_of, id_of, judge, paths};

/// Methods that stream until their deadline.
const STREAMS: [&str; 2] = [
    "/sekat.payment.v1.PaymentEventService/WatchPaymentEvents",
    "/sekat.catalog.feed.v1.ProductFeedService/StreamFeedChanges",
];
/// What those are given.
const STREAM_LIMIT: Duration = Duration::from_millis(500);
/// What other calls are given; they take milliseconds.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// Somebody who tries.
struct Caller {
    name: &'static str,
    identity: Identity,
    /// The name and domain in the certificate, if it is one that should hold.
    holds: Option<(String, &'static str)>,
}

/// How often a peer's calls of a method on a workload ended with a status. The name of the status is gRPC's.
type Tally = BTreeMap<(String, String, String, String), u64>;

/// What was tried, and what should not have happened.
#[derive(Default)]
struct Trial {
    tried: Tally,
    /// Calls that reached a handler whose accesses are recorded: workload, peer, method.
    recorded: BTreeMap<(String, String, String), u64>,
    refused_at_tls: u64,
    violations: Vec<String>,
}

#[tokio::test]
async fn what_was_reviewed_is_reached_and_nothing_else() {
    let mut mesh = Mesh::start(Options::empty());
    let edges = Edge::all();
    let (people, mut trial) = end_users(&mesh).await;
    let callers = callers(&mesh);
    assert!(callers.iter().filter(|caller| caller.holds.is_some()).count() >= 12, "ten workloads, ops and a stranger");
    let listeners: Vec<String> = mesh.running().mesh.into_keys().collect();
    assert_eq!(listeners.len(), 8, "seven workloads, one with a feed: {listeners:?}");
    let tries = callers.iter().flat_map(|caller| listeners.iter().map(move |listener| (caller, listener)));
    let trials = join_all(tries.map(|(caller, listener)| try_listener(&mesh, &edges, &people, caller, listener))).await;
    for part in trials {
        trial.add(part);
    }

    assert!(mesh.stop().await.success(), "{}", mesh.log_tails());
    trial.compare_counters(&mesh);
    trial.compare_records(&mesh);
    let calls: u64 = trial.tried.values().sum();
    assert!(trial.violations.is_empty(), "{} violations:\n{}", trial.violations.len(), trial.violations.join("\n"));
    eprintln!("{calls} calls were answered as reviewed, {} did not get through TLS", trial.refused_at_tls);
}

/// A buyer, a seller and a creator with their tokens, signed up by commerce-edge's own calls, so that those count too.
async fn end_users(mesh: &Mesh) -> (Vec<(SessionScope, Person)>, Trial) {
    let edge = Identity::read(&mesh.identity("commerce-edge"));
    let channel = mesh.channel_as(Some(&edge), "account");
    let mut trial = Trial::default();
    let mut people = Vec::new();
    for scope in [SessionScope::Buyer, SessionScope::Seller, SessionScope::Creator] {
        people.push((scope, Person::sign_up_over(channel.clone(), scope).await));
        for path in ["/sekat.account.v1.AccountService/CreateAccount", "/sekat.account.v1.SessionService/CreateSession"]
        {
            trial.note("account", &id_of("commerce-edge"), path, "OK");
            trial.note_recorded("account", &id_of("commerce-edge"), path);
        }
    }
    (people, trial)
}

/// All identities that `sekat up` has issued, one of no workload, and several that must not hold.
fn callers(mesh: &Mesh) -> Vec<Caller> {
    let commerce = mesh.authority("commerce");
    let showcase = mesh.authority("showcase");
    let impostor = CertificateAuthority::new("commerce.sekat.local").unwrap();
    let nothing = |_: &mut _| {};
    let wrong = |name, identity| Caller { name, identity, holds: None };
    let mut callers = vec![
        Caller {
            name: "a workload of no contract",
            identity: mint(&commerce, "commerce", "stranger", nothing),
            holds: Some(("stranger".to_owned(), "commerce")),
        },
        wrong("order by an authority of the same name", mint(&impostor, "commerce", "order", nothing)),
        wrong("order by the showcase's authority", mint(&showcase, "commerce", "order", nothing)),
        wrong("showcase by commerce's authority", mint(&commerce, "showcase", "showcase", nothing)),
        wrong(
            "order until a moment ago",
            mint(&commerce, "commerce", "order", |profile| {
                profile.not_after = SystemTime::now() - Duration::from_secs(5);
            }),
        ),
        wrong(
            "order with a second name",
            mint(&commerce, "commerce", "order", |profile| profile.uris.push(id_of("payment"))),
        ),
    ];
    let issued = std::fs::read_dir(mesh.data().join("identities")).expect("the identities can be listed");
    for workload in issued.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        let identity = Identity::read(&mesh.identity(&workload));
        if workload == "witness" {
            callers.push(wrong("whoever takes the spans, of a third trust domain", identity));
            continue;
        }
        let domain = domain_of(&workload);
        callers.push(Caller { name: "a workload", identity, holds: Some((workload, domain)) });
    }
    callers
}

/// One identity at one port: every method, with every kind of end user where that matters.
async fn try_listener(
    mesh: &Mesh,
    edges: &[Edge],
    people: &[(SessionScope, Person)],
    caller: &Caller,
    listener: &str,
) -> Trial {
    let mut trial = Trial::default();
    let channel = mesh.channel_as(Some(&caller.identity), listener);
    let server = server_of(listener);
    // A feed lets both domains through TLS, other ports their own.
    let is_let_in = |domain: &str| listener.ends_with("-feed") || server.contains(domain);
    let name = caller.holds.as_ref().map(|(name, _)| name);
    for path in paths(edges).into_iter().chain(UNKNOWN) {
        let here = |edge: &&Edge| edge.listener == listener && edge.path == path;
        let right = edges.iter().filter(here).find(|edge| Some(&edge.caller) == name);
        match &caller.holds {
            Some((name, domain)) if is_let_in(domain) => {
                let peer = format!("spiffe://{domain}.sekat.local/{name}");
                let served = edges.iter().any(|edge| here(&edge));
                let counted_as = if served { path } else { "_OTHER" };
                for (scope, token) in end_users_to_try(right, people) {
                    let attempt = Attempt { channel: &channel, listener, path, peer: &peer, counted_as, right, scope };
                    for message in [Bytes::new(), GARBAGE] {
                        trial.answered(&attempt, &attempt.call(token, message).await);
                    }
                }
            }
            _ => match call_within(&channel, path, None, Bytes::new(), CALL_LIMIT).await {
                Outcome::Cut(_) if right.is_none() => trial.refused_at_tls += 1,
                outcome => trial.violations.push(format!("{}: {listener}{path}: {outcome:?}", caller.name)),
            },
        }
    }
    trial
}

/// One workload's call of one method at one port, on behalf of somebody.
struct Attempt<'a> {
    channel: &'a Channel,
    listener: &'a str,
    path: &'a str,
    peer: &'a str,
    /// The method's name in the server's counters.
    counted_as: &'a str,
    /// What was reviewed.
    right: Option<&'a Edge>,
    scope: Option<SessionScope>,
}

impl Attempt<'_> {
    async fn call(&self, token: Option<&str>, message: Bytes) -> Outcome {
        let limit = if STREAMS.contains(&self.path) { STREAM_LIMIT } else { CALL_LIMIT };
        call_within(self.channel, self.path, token, message, limit).await
    }
}

/// Nobody, and where an end user matters everybody.
fn end_users_to_try<'a>(
    right: Option<&Edge>,
    people: &'a [(SessionScope, Person)],
) -> Vec<(Option<SessionScope>, Option<&'a str>)> {
    let nobody = std::iter::once((None, None));
    let everybody = people.iter().map(|(scope, person)| (Some(*scope), Some(person.token())));
    let matters = right.is_some_and(|edge| !edge.scopes.is_empty());
    nobody.chain(everybody.filter(|_| matters)).collect()
}

impl Trial {
    /// Takes note of an attempt that got through TLS.
    fn answered(&mut self, attempt: &Attempt<'_>, outcome: &Outcome) {
        let Attempt { listener, path, peer, right, scope, .. } = attempt;
        let workload = listener.trim_end_matches("-feed");
        if let Some(code) = outcome.code() {
            self.note(workload, peer, attempt.counted_as, &status_name(code));
        }
        match judge(*right, *scope, outcome) {
            Ok(handled) if handled && right.is_some_and(Edge::is_recorded) => self.note_recorded(workload, peer, path),
            Ok(_) => {}
            Err(expected) => self
                .violations
                .push(format!("{peer} for {scope:?} at {listener}{path}: {outcome:?}, expected {expected}")),
        }
    }

    fn note(&mut self, workload: &str, peer: &str, method: &str, status: &str) {
        let key = [workload, peer, method, status].map(str::to_owned).into();
        *self.tried.entry(key).or_insert(0) += 1;
    }

    fn note_recorded(&mut self, workload: &str, peer: &str, method: &str) {
        *self.recorded.entry([workload, peer, method].map(str::to_owned).into()).or_insert(0) += 1;
    }

    fn add(&mut self, other: Self) {
        for (key, count) in other.tried {
            *self.tried.entry(key).or_insert(0) += count;
        }
        for (key, count) in other.recorded {
            *self.recorded.entry(key).or_insert(0) += count;
        }
        self.refused_at_tls += other.refused_at_tls;
        self.violations.extend(other.violations);
    }

    /// The servers have counted exactly what was tried. Where a workload calls by itself (the showcase follows the
    /// feed, order follows payments), it has counted its own calls as a client, and only so many may be more.
    fn compare_counters(&mut self, mesh: &Mesh) {
        let mut counted = Tally::new();
        let mut own_calls: BTreeMap<(String, String, String), u64> = BTreeMap::new();
        for workload in mesh_workloads(mesh) {
            for count in mesh.counters(&workload) {
                if count.direction == "server" {
                    *counted.entry((workload.clone(), count.peer, count.method, count.status)).or_insert(0) +=
                        count.count;
                } else {
                    let callee = count.peer.rsplit('/').next().unwrap_or_default().to_owned();
                    *own_calls.entry((callee, id_of(&workload), count.method)).or_insert(0) += count.count;
                }
            }
        }
        let keys: BTreeSet<_> = self.tried.keys().chain(counted.keys()).cloned().collect();
        for key in keys {
            let tried = self.tried.get(&key).copied().unwrap_or(0);
            let seen = counted.get(&key).copied().unwrap_or(0);
            let (workload, peer, method, _) = key.clone();
            let own = own_calls.get(&(workload, peer, method)).copied().unwrap_or(0);
            if seen < tried || seen > tried + own {
                self.violations
                    .push(format!("{key:?}: tried {tried} times, counted {seen}, of which {own} may be more"));
            }
        }
    }

    /// Each access to personal or payment data is recorded once, and no refused one is.
    fn compare_records(&mut self, mesh: &Mesh) {
        assert!(!self.recorded.is_empty(), "accesses are recorded");
        let mut found: BTreeMap<(String, String, String), u64> = BTreeMap::new();
        for workload in mesh_workloads(mesh).into_iter().filter(|workload| workload != "psp-connector") {
            for record in mesh.access_records(&workload) {
                *found.entry((workload.clone(), record.caller, record.method)).or_insert(0) += 1;
            }
        }
        // The connector has no store: payment, the only caller, records what it does there.
        self.recorded.retain(|(workload, _, _), _| workload != "psp-connector");
        // Order watches payments by itself, some times more.
        let watching = |(workload, peer, method): &(String, String, String)| {
            workload == "payment" && *peer == id_of("order") && STREAMS.contains(&method.as_str())
        };
        let keys: BTreeSet<_> = self.recorded.keys().chain(found.keys()).cloned().collect();
        for key in keys {
            let (expected, found) = (self.recorded.get(&key), found.get(&key));
            if expected != found && !(watching(&key) && found > expected) {
                self.violations.push(format!("{key:?}: {expected:?} accesses, {found:?} records"));
            }
        }
    }
}

/// The workloads that other workloads call.
fn mesh_workloads(mesh: &Mesh) -> Vec<String> {
    let stores = std::fs::read_dir(mesh.data().join("stores")).expect("the stores can be listed");
    let names = stores.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with("-edge") && name != "notify-ingress" && name != "bank").collect()
}

/// gRPC's name of a status code.
fn status_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
