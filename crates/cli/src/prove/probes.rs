//! The layer of the probes: every workload's identity tries every method that it may not call.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use anyhow::Context as _;
use ring::rand::{SecureRandom as _, SystemRandom};
use sekat_audit::{Kind, Recorded, Resource, Sink, Span, unhex};
use sekat_evidence::{Check, Layer, LayerName};
use sekat_policy::Intent;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::attacker::{Connection, connect};
use super::identities::place;
use super::spans;
use crate::layout::{Layout, Running};

/// What a refusal may take; it is given before a byte of the message is read.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// A call that was tried, and what came back.
pub(super) struct Probe {
    caller: String,
    callee: String,
    port: String,
    method: String,
    trace: [u8; 16],
    outcome: Outcome,
}

enum Outcome {
    /// The server knew the caller, and said no.
    Denied,
    /// The server did not take the caller's certificate.
    Unconnected(String),
    /// Anything else came of it: it got in.
    GotIn(Code),
    /// Nobody can say.
    Unclear(String),
}

/// Tries everything that must be refused.
pub(super) async fn run(intent: &Intent, layout: &Layout, running: &Running) -> anyhow::Result<Vec<Probe>> {
    let random = SystemRandom::new();
    let mut probes = Vec::new();
    for caller in &intent.workloads {
        let mut connections: BTreeMap<(&str, &str), Connection> = BTreeMap::new();
        for method in &intent.methods {
            if method.workload == caller.name || intent.allows(&caller.name, &method.path) {
                continue;
            }
            let Some(server) = intent.workload(&method.workload) else { continue };
            let connection = match connections.entry((&server.name, &method.port)) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let feed = if method.port == "feed" { "-feed" } else { "" };
                    let name = format!("{}{feed}", server.name);
                    let address = running.mesh.get(&name).with_context(|| format!("{name} has no address"))?;
                    entry.insert(connect(address, &layout.identity(&caller.name)).await?)
                }
            };
            let mut trace = [0; 16];
            random.fill(&mut trace).ok().context("the system gives no random bytes")?;
            let outcome = match connection {
                Connection::Open(channel) => call(channel.clone(), &method.path, trace).await?,
                Connection::Refused(alert) => Outcome::Unconnected(alert.clone()),
                Connection::Unclear(why) => Outcome::Unclear(why.clone()),
            };
            probes.push(Probe {
                caller: caller.name.clone(),
                callee: server.name.clone(),
                port: method.port.clone(),
                method: method.path.clone(),
                trace,
                outcome,
            });
        }
    }
    Ok(probes)
}

/// What the probes of all runs left behind: what an earlier run tried is in spans and logs still.
pub(super) struct Announced {
    /// Their traces.
    pub(super) traces: BTreeSet<[u8; 16]>,
    /// How many connections of which identity each workload refused.
    refused: BTreeMap<(String, String), usize>,
}

/// Writes down these probes, and reads those of all runs.
pub(super) fn announce(intent: &Intent, probes: &[Probe], layout: &Layout) -> anyhow::Result<Announced> {
    let path = layout.evidence().join("probes");
    let mut lines: String = probes.iter().map(|probe| format!("trace {}\n", hex(&probe.trace))).collect();
    let refused = probes.iter().filter(|probe| matches!(probe.outcome, Outcome::Unconnected(_)));
    let connections: BTreeSet<_> = refused.map(|probe| (&probe.caller, &probe.callee, &probe.port)).collect();
    for (caller, callee, _) in connections {
        let identity = intent.workload(caller).map_or("", |workload| &workload.identity);
        lines.push_str(&format!("refused {callee} {identity}\n"));
    }
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    file.write_all(lines.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))?;
    let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut announced = Announced { traces: BTreeSet::new(), refused: BTreeMap::new() };
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["trace", trace] => announced.traces.extend(unhex(trace)),
            ["refused", callee, identity] => {
                *announced.refused.entry(((*callee).to_owned(), (*identity).to_owned())).or_default() += 1;
            }
            _ => anyhow::bail!("{} was changed by somebody: `{line}` is no probe", path.display()),
        }
    }
    Ok(announced)
}

/// That nobody but the probes came with a certificate of another domain.
fn strangers(announced: &Announced, callee: &str, place: &str, log: &str) -> Vec<Check> {
    let expected = "no connection with a certificate of another domain, but those of the probes";
    let mut refusals: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, line) in (1..).zip(log.lines()) {
        if line.contains("a peer is refused") && line.contains("foreign_trust_domain") {
            refusals.entry(claimed(line)).or_default().push(number);
        }
    }
    let mut strangers = Vec::new();
    for (claimed, lines) in refusals {
        let ours = announced.refused.get(&(callee.to_owned(), claimed.to_owned())).copied().unwrap_or(0);
        if let (Some(more @ 1..), Some(line)) = (lines.len().checked_sub(ours), lines.last()) {
            let observed = format!("{more} more, with a certificate that says {claimed}; refused in the TLS handshake");
            let subject = format!("{claimed} -> {callee}");
            strangers.push(Check::violated(subject, expected, observed).at(format!("{place}:{line}")));
        }
    }
    if strangers.is_empty() { vec![Check::holds(callee, expected)] } else { strangers }
}

/// Who the refused peer says it is, in a line of a log of whichever format.
fn claimed(line: &str) -> &str {
    let Some((_, behind)) = line.split_once("claimed") else { return "nobody" };
    let Some(start) = behind.find("spiffe://") else { return "nobody" };
    let identity = behind.get(start..).unwrap_or_default();
    identity.split(['"', ' ', ',']).next().unwrap_or_default()
}

fn hex(trace: &[u8; 16]) -> String {
    trace.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One call with an empty message, in a trace of its own.
async fn call(channel: Channel, path: &str, trace: [u8; 16]) -> anyhow::Result<Outcome> {
    let mut client = tonic::client::Grpc::new(channel);
    let asked = async {
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = tonic::Request::new(());
        let trace = hex(&trace);
        let parent = trace.get(..16).unwrap_or_default();
        let header = format!("00-{trace}-{parent}-01").parse().map_err(|_| Status::internal("no header"))?;
        request.metadata_mut().insert("traceparent", header);
        request.set_timeout(LIMIT);
        let codec: tonic_prost::ProstCodec<(), ()> = tonic_prost::ProstCodec::default();
        client.unary(request, path.parse().map_err(|_| Status::internal("no path"))?, codec).await
    };
    let status = match tokio::time::timeout(LIMIT, asked).await {
        Ok(Ok(_)) => return Ok(Outcome::GotIn(Code::Ok)),
        Ok(Err(status)) => status,
        Err(_) => return Ok(Outcome::Unclear("no answer".to_owned())),
    };
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    Ok(match status.code() {
        Code::PermissionDenied if reason == "POLICY_DENIED" => Outcome::Denied,
        // The channel failed; the server said nothing.
        _ if status.source().is_some() => Outcome::Unclear(words(&status)),
        code => Outcome::GotIn(code),
    })
}

/// A status with all its causes.
fn words(status: &Status) -> String {
    let mut words = status.message().to_owned();
    let mut error = status.source();
    while let Some(cause) = error {
        words = format!("{words}: {cause}");
        error = cause.source();
    }
    words
}

/// What came of the probes, and whether each that reached a server came back in its span and in its audit log.
pub(super) fn layer(probes: &[Probe], announced: &Announced, layout: &Layout) -> anyhow::Result<Layer> {
    let mut checks = Vec::new();
    let mut seen = Nonces::default();
    spans::read(layout, &mut seen)?;
    let mut logged = BTreeSet::new();
    let callees: BTreeSet<&str> = probes.iter().map(|probe| probe.callee.as_str()).collect();
    for callee in callees {
        let log = layout.log(callee);
        let text = fs::read(&log).with_context(|| format!("{} cannot be read", log.display()))?;
        let text = String::from_utf8_lossy(&text);
        logged.extend(refused(&text));
        checks.extend(strangers(announced, callee, &place(layout, &log), &text));
    }
    let check = |probe: &Probe| {
        let subject = format!("{} -> {}", probe.caller, probe.method);
        let expected = "refused";
        let trace = hex(&probe.trace);
        let check = match &probe.outcome {
            Outcome::Unconnected(alert) => {
                Check { observed: format!("refused in the TLS handshake: {alert}"), ..Check::holds(subject, expected) }
            }
            Outcome::GotIn(code) => Check::violated(subject, expected, format!("let in: {code:?}")),
            Outcome::Unclear(why) => Check::unknown(subject, expected, why),
            Outcome::Denied => match (seen.0.contains(&probe.trace), logged.contains(&probe.trace)) {
                (true, true) => {
                    let observed = "PERMISSION_DENIED, in its span and its audit record".to_owned();
                    Check { observed, ..Check::holds(subject, expected) }
                }
                (false, _) => Check::unknown(subject, expected, "PERMISSION_DENIED, but no span of the server says so"),
                (true, false) => Check::unknown(subject, expected, "PERMISSION_DENIED, but no audit record says so"),
            },
        };
        check.at(format!("trace {trace}"))
    };
    checks.extend(probes.iter().map(check));
    Ok(Layer::ran(LayerName::Probes, checks))
}

/// The traces that the audit events of a log name, whichever format it has.
fn refused(log: &str) -> impl Iterator<Item = [u8; 16]> {
    let events = log.lines().filter(|line| line.contains("audit"));
    events.flat_map(|line| line.split(|letter: char| !letter.is_ascii_hexdigit())).filter_map(unhex)
}

/// The traces of spans of servers.
#[derive(Default)]
struct Nonces(BTreeSet<[u8; 16]>);

impl Sink for Nonces {
    fn span(&mut self, _: &Resource<'_>, span: &Span<'_>) {
        if span.kind == Kind::Server {
            self.0.insert(span.trace_id);
        }
    }

    fn recorded(&mut self, _: &Resource<'_>, _: Recorded) {}
}
