//! A stated intent held against the manifests: what they allow and nobody meant, what was meant and they deny, and
//! what cannot be known.

use std::collections::{BTreeMap, BTreeSet};

use sekat_policy::intent::{Audience, Intent, Place, Port, Protocol};
use sekat_policy::{Diagnostic, Severity, Span};

use crate::addresses::{Block, Range};
use crate::analysis::Analysis;
use crate::explain::{Explanation, Reason, Verdict};
use crate::plan::Direction;
use crate::ports::{Conn, PortSet};
use crate::{ABSENT, AMBIGUOUS, MISSING, UNDECIDED, VIOLATED};

/// What a check of an intent found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// All findings: errors, and as warnings what cannot be known.
    pub findings: Vec<Diagnostic>,
    /// Ordered pairs of ends that were looked at.
    pub pairs: usize,
    /// Pairs between which only what was meant is possible, and all of it is certain.
    pub sound: usize,
    /// For the pairs that are not sound: who, to whom, and why.
    pub witnesses: Vec<Explanation>,
}

/// An ordered pair of ends between which only what was meant is possible, and all of it is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Who connects.
    pub src: String,
    /// To whom.
    pub dst: String,
    /// At which ports that is possible, as rows of connections say it; empty if at none.
    pub open: String,
}

/// What a party of the intent may do, and what it is.
struct Party<'a> {
    name: &'a str,
    place: &'a Place,
    ports: &'a [Port],
    span: Span,
    /// Its workloads in the manifests.
    members: Vec<usize>,
}

/// What may be open between two ends: what must be, and what may be beyond.
#[derive(Clone, Debug, Default)]
struct Meant {
    needed: PortSet,
    allowed: PortSet,
}

impl Meant {
    fn need(&mut self, ports: &PortSet) {
        self.needed = self.needed.union(ports);
        self.allowed = self.allowed.union(ports);
    }

    fn allow(&mut self, ports: &PortSet) {
        self.allowed = self.allowed.union(ports);
    }
}

impl Checked {
    /// The verdict: whether something is violated, else whether something is not known.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.findings.iter().any(|finding| [VIOLATED, MISSING].contains(&finding.code)) {
            Verdict::Denied
        } else if self.findings.is_empty() {
            Verdict::Allowed
        } else {
            Verdict::Unknown
        }
    }
}

impl Analysis {
    /// Checks every ordered pair of an intent's workloads, stores and platform services, of the manifests' other
    /// workloads towards them, and of all of them and the addresses outside.
    #[must_use]
    pub fn check(&self, intent: &Intent) -> Checked {
        self.check_each(intent, |_| {})
    }

    /// The same, and tells each sound pair.
    pub fn check_each(&self, intent: &Intent, mut sound: impl FnMut(Pair)) -> Checked {
        let mut check = Check::new(self, intent, &mut sound);
        let strangers = check.strangers();
        for to in 0..check.parties.len() {
            for from in 0..check.parties.len() {
                check.parties_pair(from, to);
            }
            for stranger in &strangers {
                check.stranger_reaches(*stranger, to);
            }
            check.any_pod_reaches(to);
            check.outside_reaches(to);
        }
        for from in 0..check.parties.len() {
            for stranger in &strangers {
                check.reaches_stranger(from, *stranger);
            }
            check.reaches_any_pod(from);
            check.reaches_outside(from);
        }
        let mut checked = check.checked;
        checked.findings.sort_by(|left, right| {
            (&left.span, left.code, &left.message).cmp(&(&right.span, right.code, &right.message))
        });
        checked.findings.dedup();
        checked
    }
}

struct Check<'a, 's> {
    sound: &'s mut dyn FnMut(Pair),
    analysis: &'a Analysis,
    intent: &'a Intent,
    parties: Vec<Party<'a>>,
    /// Who connects to which port of whom.
    connections: BTreeSet<(&'a str, &'a str, &'a str)>,
    /// The workloads of the platform that everybody may ask, and at which ports.
    platform: Vec<(Vec<usize>, PortSet)>,
    /// The workloads that stand for something outside: whose they are to reach, and at which ports.
    external: Vec<(&'a BTreeSet<String>, Vec<usize>, PortSet)>,
    /// The addresses outside, cut where the manifests and where the intent cut them, with their numbers as peers.
    outside: Vec<(Range, u32)>,
    checked: Checked,
}

/// The other end of a pair, for words and explanations.
#[derive(Clone, Copy)]
enum Other {
    Workload(usize),
    AnyPod,
    Outside(Range, u32),
}

impl<'a, 's> Check<'a, 's> {
    fn new(analysis: &'a Analysis, intent: &'a Intent, sound: &'s mut dyn FnMut(Pair)) -> Self {
        let mut parties = Vec::new();
        let mut add = |name: &'a str, place: &'a Place, ports: &'a [Port], span: Span| {
            parties.push(Party { name, place, ports, span, members: members(analysis, place) });
        };
        for one in &intent.workloads {
            add(&one.name, &one.place, &one.ports, one.span.clone());
        }
        for one in &intent.stores {
            add(&one.name, &one.place, &one.ports, one.span.clone());
        }
        let mut checked = Checked::default();
        let mut owners: BTreeMap<usize, &str> = BTreeMap::new();
        for party in &parties {
            checked.findings.extend(misplaced(party, intent.elsewhere.contains(party.name)));
            for member in &party.members {
                if let Some(other) = owners.insert(*member, party.name) {
                    let message = format!("{} is both `{other}` and `{}`", analysis.name(*member), party.name);
                    let help = "give them labels that tell them apart";
                    checked.findings.push(Diagnostic::error(AMBIGUOUS, party.span.clone(), message, help));
                }
            }
        }
        let endpoints = intent.platform.dns.iter().chain(&intent.platform.telemetry);
        let mut external = Vec::new();
        for one in &intent.externals {
            for place in &one.pods {
                let members = members(analysis, place);
                if members.is_empty() {
                    let message = format!("no workload of the manifests stands for `{}`", one.name);
                    let help = format!("correct `pods`: none in namespace {} has these labels", place.namespace);
                    checked.findings.push(Diagnostic::error(ABSENT, one.span.clone(), message, help));
                }
                external.push((&one.clients, members, ports_of(&one.ports)));
            }
        }
        Self {
            sound,
            analysis,
            intent,
            parties,
            connections: intent.connections(),
            platform: endpoints.map(|one| (members(analysis, &one.place), set(&one.ports))).collect(),
            external,
            outside: outside(analysis, intent),
            checked,
        }
    }

    /// The manifests' workloads that the intent does not name.
    fn strangers(&self) -> Vec<usize> {
        let is_party = |at: &usize| self.parties.iter().any(|party| party.members.contains(at));
        (0..self.analysis.cluster().workloads.len()).filter(|at| !is_party(at)).collect()
    }

    /// What is meant between two parties.
    fn meant(&self, from: &Party<'_>, to: &Party<'_>) -> Meant {
        let mut meant = Meant::default();
        for port in to.ports {
            let ports = PortSet::one(port.protocol, port.number);
            let is_called = self.connections.contains(&(from.name, to.name, port.name.as_str()));
            let is_client =
                self.intent.stores.iter().any(|store| store.name == to.name && store.clients.contains(from.name));
            if is_called || is_client {
                meant.need(&ports);
            }
            if port.audience == Audience::Public {
                meant.allow(&ports);
            }
        }
        meant
    }

    /// What everybody may ask of a workload of the platform.
    fn platform(&self, at: usize) -> Meant {
        let mut meant = Meant::default();
        for (_, ports) in self.platform.iter().filter(|(members, _)| members.contains(&at)) {
            meant.need(ports);
        }
        meant
    }

    fn parties_pair(&mut self, from: usize, to: usize) {
        let (Some(source), Some(target)) = (self.parties.get(from), self.parties.get(to)) else { return };
        if from == to {
            return;
        }
        let meant = self.meant(source, target);
        let (sources, targets, span) = (source.members.clone(), target.members.clone(), target.span.clone());
        for (from, to) in sources.iter().flat_map(|from| targets.iter().map(move |to| (*from, *to))) {
            let mut meant = meant.clone();
            let platform = self.platform(to);
            meant.allow(&platform.allowed);
            let conn = self.analysis.between(from, to);
            self.judge(to, Direction::Ingress, Other::Workload(from), &conn, &meant, &span);
        }
    }

    fn stranger_reaches(&mut self, from: usize, to: usize) {
        let Some(target) = self.parties.get(to) else { return };
        let (meant, span) = (public(target), target.span.clone());
        for to in target.members.clone() {
            let conn = self.analysis.between(from, to);
            self.judge(to, Direction::Ingress, Other::Workload(from), &conn, &meant, &span);
        }
    }

    /// Whether any pod at all is let in, whatever its labels and its own policies.
    fn any_pod_reaches(&mut self, to: usize) {
        let Some(target) = self.parties.get(to) else { return };
        let (meant, span) = (public(target), target.span.clone());
        for to in target.members.clone() {
            let conn = self.analysis.entering(self.analysis.class(to), self.analysis.model.classes.unknown);
            // A pod with the right labels may always come: only what needs none is judged.
            let conn = Conn { possible: conn.certain.clone(), certain: conn.certain };
            self.judge(to, Direction::Ingress, Other::AnyPod, &conn, &meant, &span);
        }
    }

    /// Whether any pod at all can be reached, as far as this side decides.
    fn reaches_any_pod(&mut self, from: usize) {
        let Some(source) = self.parties.get(from) else { return };
        let span = source.span.clone();
        for from in source.members.clone() {
            let conn = self.analysis.leaving(self.analysis.class(from), self.analysis.model.classes.unknown);
            let conn = Conn { possible: conn.certain.clone(), certain: conn.certain };
            self.judge(from, Direction::Egress, Other::AnyPod, &conn, &Meant::default(), &span);
        }
    }

    fn reaches_stranger(&mut self, from: usize, to: usize) {
        let Some(source) = self.parties.get(from) else { return };
        let is_workload = self.intent.workload(source.name).is_some();
        let span = source.span.clone();
        let mut meant = self.platform(to);
        if !is_workload {
            meant.needed = PortSet::none();
        }
        for (clients, members, ports) in &self.external {
            if clients.contains(source.name) && members.contains(&to) {
                meant.need(ports);
            }
        }
        for from in source.members.clone() {
            let conn = self.analysis.between(from, to);
            self.judge(from, Direction::Egress, Other::Workload(to), &conn, &meant, &span);
        }
    }

    fn outside_reaches(&mut self, to: usize) {
        let Some(target) = self.parties.get(to) else { return };
        let (open, span) = (public(target), target.span.clone());
        let probes: PortSet = target
            .ports
            .iter()
            .filter(|port| port.audience == Audience::Probes)
            .fold(PortSet::none(), |set, port| set.union(&PortSet::one(port.protocol, port.number)));
        let sources = blocks(&self.intent.platform.probes, &[]);
        for to in target.members.clone() {
            for (range, atom) in self.outside.clone() {
                let mut meant = open.clone();
                if sources.iter().any(|block| block.covers(range)) {
                    meant.allow(&probes);
                }
                let conn = self.analysis.entering(self.analysis.class(to), atom);
                self.judge(to, Direction::Ingress, Other::Outside(range, atom), &conn, &meant, &span);
            }
        }
    }

    fn reaches_outside(&mut self, from: usize) {
        let Some(source) = self.parties.get(from) else { return };
        let externals: Vec<(Vec<Block>, PortSet)> = self
            .intent
            .externals
            .iter()
            .filter(|external| external.clients.contains(source.name))
            .map(|external| (blocks(&external.cidrs, &external.except), ports_of(&external.ports)))
            .collect();
        let span = source.span.clone();
        for from in source.members.clone() {
            for (range, atom) in self.outside.clone() {
                let mut meant = Meant::default();
                for (blocks, ports) in &externals {
                    if blocks.iter().any(|block| block.covers(range)) {
                        meant.need(ports);
                    }
                }
                let conn = self.analysis.leaving(self.analysis.class(from), atom);
                self.judge(from, Direction::Egress, Other::Outside(range, atom), &conn, &meant, &span);
            }
        }
    }

    /// Compares what is open with what is meant, seen from `workload`.
    fn judge(&mut self, workload: usize, direction: Direction, other: Other, conn: &Conn, meant: &Meant, span: &Span) {
        self.checked.pairs += 1;
        let beyond = conn.certain.without(&meant.allowed);
        let maybe_beyond = conn.possible.without(&meant.allowed).without(&beyond);
        let denied = meant.needed.without(&conn.possible);
        let maybe_denied = meant.needed.without(&conn.certain).without(&denied);
        let cases = [
            (VIOLATED, Severity::Error, &beyond, "is allowed and not meant"),
            (MISSING, Severity::Error, &denied, "is meant and denied"),
            (UNDECIDED, Severity::Warning, &maybe_beyond, "is not meant and cannot be ruled out"),
            (UNDECIDED, Severity::Warning, &maybe_denied, "is meant and cannot be claimed"),
        ];
        let mut is_sound = true;
        for (code, severity, ports, what) in cases {
            if ports.is_empty() {
                continue;
            }
            is_sound = false;
            let witness = self.explain(workload, direction, other, ports);
            let message = format!("{} to {} at {ports} {what}", witness.src, witness.dst);
            let (at, help) = help(&witness, code, span);
            self.checked.findings.push(Diagnostic { code, severity, span: at, message, help });
            self.checked.witnesses.push(witness);
        }
        if is_sound {
            self.checked.sound += 1;
            let (mut src, mut dst) = (self.name(other), self.analysis.name(workload));
            if direction == Direction::Egress {
                std::mem::swap(&mut src, &mut dst);
            }
            let open = if conn.possible.is_empty() { String::new() } else { conn.possible.to_string() };
            (self.sound)(Pair { src, dst, open });
        }
    }

    fn name(&self, other: Other) -> String {
        match other {
            Other::Workload(at) => self.analysis.name(at),
            Other::AnyPod => "any pod".to_owned(),
            Other::Outside(range, _) => range.to_string(),
        }
    }

    fn explain(&self, workload: usize, direction: Direction, other: Other, ports: &PortSet) -> Explanation {
        match (other, direction) {
            (Other::Workload(other), Direction::Ingress) => self.analysis.explain_workloads(other, workload, ports),
            (Other::Workload(other), Direction::Egress) => self.analysis.explain_workloads(workload, other, ports),
            (Other::AnyPod, direction) => self.analysis.explain_stranger(workload, direction, ports),
            (Other::Outside(range, atom), direction) => {
                let mut witness = self.analysis.explain_atom(workload, atom, direction, ports);
                let end = if direction == Direction::Ingress { &mut witness.src } else { &mut witness.dst };
                *end = range.to_string();
                witness
            }
        }
    }
}

/// A party that the manifests lack, or have although it is said to run elsewhere.
fn misplaced(party: &Party<'_>, is_elsewhere: bool) -> Option<Diagnostic> {
    let Party { name, place, span, .. } = party;
    let (message, help) = match (party.members.is_empty(), is_elsewhere) {
        (true, false) => (
            format!("no workload of the manifests is `{name}`"),
            format!(
                "add it in namespace {}, with its labels, remove it here, or name it under `elsewhere` of a site file",
                place.namespace
            ),
        ),
        (false, true) => (
            format!("`{name}` is in the manifests, and is said to run elsewhere"),
            "remove it from one of the two".to_owned(),
        ),
        _ => return None,
    };
    Some(Diagnostic::error(ABSENT, span.clone(), message, help))
}

/// Where the finding belongs, and what to look at: the rule that decides, or else the statement of the intent.
fn help(witness: &Explanation, code: &str, span: &Span) -> (Span, String) {
    let reasons: Vec<&Reason> = witness.egress.iter().chain(&witness.ingress).collect();
    let cited = reasons.iter().find(|reason| match code {
        UNDECIDED => reason.is_doubt,
        _ => reason.policy.is_some(),
    });
    let at = cited.and_then(|reason| reason.span.clone()).unwrap_or_else(|| span.clone());
    let lines: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    (at, if lines.is_empty() { "look at the policies of both ends".to_owned() } else { lines.join("; ") })
}

fn outside(analysis: &Analysis, intent: &Intent) -> Vec<(Range, u32)> {
    let known = analysis.model.atoms.iter().map(|atom| Block { cidr: *atom, except: Vec::new() });
    let externals = intent.externals.iter().flat_map(|one| blocks(&one.cidrs, &one.except));
    let all: Vec<Block> = known.chain(externals).chain(blocks(&intent.platform.probes, &[])).collect();
    let mut atoms = (analysis.model.first_atom()..).zip(&analysis.model.atoms).peekable();
    let mut found = Vec::new();
    for range in crate::addresses::atoms(all.iter()) {
        while atoms.next_if(|(_, atom)| !range.is_within(**atom)).is_some() {}
        found.extend(atoms.peek().map(|(peer, _)| (range, *peer)));
    }
    found
}

/// The manifests' workloads at a place: all of its labels are theirs.
fn members(analysis: &Analysis, place: &Place) -> Vec<usize> {
    let has =
        |labels: &BTreeMap<String, String>| place.labels.iter().all(|(key, value)| labels.get(key) == Some(value));
    let all = analysis.cluster().workloads.iter().enumerate();
    all.filter(|(_, one)| one.namespace == place.namespace && has(&one.labels.known)).map(|(at, _)| at).collect()
}

fn public(party: &Party<'_>) -> Meant {
    let mut meant = Meant::default();
    for port in party.ports.iter().filter(|port| port.audience == Audience::Public) {
        meant.allow(&PortSet::one(port.protocol, port.number));
    }
    meant
}

/// The ports of something outside; all of them if none is named.
fn ports_of(ports: &[(Protocol, u16)]) -> PortSet {
    if ports.is_empty() { PortSet::all() } else { set(ports) }
}

fn set(ports: &[(Protocol, u16)]) -> PortSet {
    ports.iter().fold(PortSet::none(), |set, (protocol, port)| set.union(&PortSet::one(*protocol, *port)))
}

/// Blocks of addresses; what is no block was an error where the intent was read.
fn blocks(cidrs: &[String], except: &[String]) -> Vec<Block> {
    let read = |texts: &[String]| texts.iter().filter_map(|text| Range::parse(text).ok()).collect::<Vec<_>>();
    let except = read(except);
    read(cidrs).into_iter().map(|cidr| Block { cidr, except: except.clone() }).collect()
}
