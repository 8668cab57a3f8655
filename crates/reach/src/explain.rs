//! Why two peers can connect, or cannot: on both sides the policies and rules that decide, with their lines. It asks
//! the same model and the same verdict as the listing.

use std::fmt;
use std::net::IpAddr;

use sekat_policy::intent::Protocol;
use sekat_policy::{Diagnostic, Span};

use crate::NO_PEER;
use crate::addresses::Range;
use crate::analysis::Analysis;
use crate::labels::Truth;
use crate::list::{GATEWAY, INGRESS_CONTROLLER};
use crate::objects::{Action, Effect, Peer, Policy, Rule, Tier};
use crate::plan::Direction;
use crate::ports::{Conn, PortSet};

/// What can be said about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is allowed for certain.
    Allowed,
    /// Some of it is allowed for certain and some of it is not.
    Partly,
    /// It can neither be claimed nor ruled out.
    Unknown,
    /// None of it is possible.
    Denied,
}

/// Why two peers can connect or cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Who connects.
    pub src: String,
    /// To whom.
    pub dst: String,
    /// The ports that were asked about.
    pub asked: PortSet,
    /// What of these is open.
    pub conn: Conn,
    /// That in a word.
    pub verdict: Verdict,
    /// What decides where the connection leaves; empty for ends outside of the cluster.
    pub egress: Vec<Reason>,
    /// What decides where it arrives.
    pub ingress: Vec<Reason>,
}

/// A thing that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Where it stands, if it stands somewhere.
    pub span: Option<Span>,
    /// The policy, as `NetworkPolicy namespace/name`.
    pub policy: Option<String>,
    /// The rule's index in its direction, counted from 0.
    pub rule: Option<usize>,
    /// Whether it is a reason for doubt.
    pub is_doubt: bool,
    /// What it does, in one sentence.
    pub text: String,
}

/// An end of a connection, found by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Workload(usize),
    /// A range of addresses, by its number as a peer.
    Atom(u32),
    /// A pod of which nothing is known.
    Stranger,
}

impl Verdict {
    /// What can be said about `asked`.
    #[must_use]
    pub fn of(conn: &Conn, asked: &PortSet) -> Self {
        let conn = conn.only(asked);
        if asked.is_within(&conn.certain) {
            Self::Allowed
        } else if !conn.certain.is_empty() {
            Self::Partly
        } else if !conn.possible.is_empty() {
            Self::Unknown
        } else {
            Self::Denied
        }
    }
}

impl Analysis {
    /// Explains a connection. Peers are named as in rows; a workload's kind, and its namespace where it is not
    /// ambiguous, may be left out; one address stands for its range.
    ///
    /// # Errors
    /// If a name fits no peer, or several.
    pub fn explain(
        &self,
        src: &str,
        dst: &str,
        port: Option<u16>,
        protocol: Option<Protocol>,
    ) -> Result<Explanation, Diagnostic> {
        let (from, to) = (self.place(src)?, self.place(dst)?);
        let asked = match (port, protocol) {
            (None, None) => PortSet::all(),
            (None, Some(protocol)) => PortSet::of(protocol),
            (Some(port), protocol) => PortSet::one(protocol.unwrap_or_default(), port),
        };
        Ok(self.explain_places(from, to, &asked))
    }

    /// Explains a connection between workloads, by their numbers.
    pub(crate) fn explain_workloads(&self, from: usize, to: usize, asked: &PortSet) -> Explanation {
        self.explain_places(Place::Workload(from), Place::Workload(to), asked)
    }

    /// Explains a connection between a workload and a pod of which nothing is known.
    pub(crate) fn explain_stranger(&self, workload: usize, direction: Direction, asked: &PortSet) -> Explanation {
        match direction {
            Direction::Egress => self.explain_places(Place::Workload(workload), Place::Stranger, asked),
            Direction::Ingress => self.explain_places(Place::Stranger, Place::Workload(workload), asked),
        }
    }

    /// Explains a connection between a workload and a range of addresses, by its number as a peer.
    pub(crate) fn explain_atom(
        &self,
        workload: usize,
        atom: u32,
        direction: Direction,
        asked: &PortSet,
    ) -> Explanation {
        match direction {
            Direction::Egress => self.explain_places(Place::Workload(workload), Place::Atom(atom), asked),
            Direction::Ingress => self.explain_places(Place::Atom(atom), Place::Workload(workload), asked),
        }
    }

    fn explain_places(&self, from: Place, to: Place, asked: &PortSet) -> Explanation {
        let (source, target) = (self.peer(from), self.peer(to));
        let mut conn = Conn::all();
        let (mut egress, mut ingress) = (Vec::new(), Vec::new());
        if let Place::Workload(at) = from {
            conn = conn.and(&self.leaving(source, target));
            egress = self.side_reasons(Direction::Egress, at, target, asked);
        }
        if let Place::Workload(at) = to {
            conn = conn.and(&self.entering(target, source));
            ingress = self.side_reasons(Direction::Ingress, at, source, asked);
        }
        if let (Place::Workload(_), Place::Workload(_)) = (from, to) {
            conn = self.edge(source, target);
            if self.have_other_networks(source, target) {
                let text = "both are attached to further networks, where these policies do not apply";
                ingress.push(Reason::doubt(None, text));
            }
        }
        if from == to && matches!(from, Place::Workload(_)) {
            ingress.push(Reason::plain(None, "between pods of one workload; what a pod says to itself always passes"));
        }
        let verdict = Verdict::of(&conn, asked);
        let [src, dst] = [from, to].map(|place| self.place_name(place));
        Explanation { src, dst, asked: asked.clone(), conn: conn.only(asked), verdict, egress, ingress }
    }

    /// Why a row is not certain, as sentences with their places.
    pub(crate) fn reasons(&self, src: &str, dst: &str) -> Vec<String> {
        let (Ok(from), Ok(to)) = (self.place(src), self.place(dst)) else { return Vec::new() };
        let explanation = self.explain_places(from, to, &PortSet::all());
        let mut reasons: Vec<String> = explanation
            .egress
            .iter()
            .chain(&explanation.ingress)
            .filter(|one| one.is_doubt)
            .map(ToString::to_string)
            .collect();
        if src == INGRESS_CONTROLLER || src == GATEWAY {
            reasons.push("the pods that forward this traffic are not in the manifests".to_owned());
        }
        reasons.sort();
        reasons.dedup();
        reasons
    }

    fn peer(&self, place: Place) -> u32 {
        match place {
            Place::Workload(at) => self.class(at),
            Place::Atom(peer) => peer,
            Place::Stranger => self.model.classes.unknown,
        }
    }

    fn place_name(&self, place: Place) -> String {
        match place {
            Place::Workload(at) => self.name(at),
            Place::Atom(peer) => {
                let at = peer.saturating_sub(self.model.first_atom());
                self.model.atoms.get(at as usize).map(ToString::to_string).unwrap_or_default()
            }
            Place::Stranger => "a pod of which nothing is known".to_owned(),
        }
    }

    fn place(&self, name: &str) -> Result<Place, Diagnostic> {
        if name == INGRESS_CONTROLLER || name == GATEWAY {
            return Ok(Place::Stranger);
        }
        let range = name.parse().map(|address: IpAddr| Range::one(address)).ok().or_else(|| {
            let (first, last) = name.split_once('-')?;
            let _: (IpAddr, IpAddr) = (first.parse().ok()?, last.parse().ok()?);
            Range::parse(first).ok()
        });
        if let Some(range) = range.or_else(|| name.contains('.').then(|| Range::parse(name).ok()).flatten()) {
            let found = (self.model.first_atom()..).zip(&self.model.atoms).find(|(_, atom)| range.is_within(**atom));
            return found.map(|(peer, _)| Place::Atom(peer)).ok_or_else(|| {
                unknown_peer(name, "is cut by some policy's block", "name one address, or a range of the listing")
            });
        }
        let (bare, kind) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
            Some((bare, kind)) => (bare, Some(kind)),
            None => (name, None),
        };
        let (namespace, bare) = bare.split_once('/').map_or((None, bare), |(namespace, bare)| (Some(namespace), bare));
        let mut found = self.cluster.workloads.iter().enumerate().filter(|(_, one)| {
            one.name == bare
                && namespace.is_none_or(|namespace| namespace == one.namespace)
                && kind.is_none_or(|kind| kind == one.kind)
        });
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Ok(Place::Workload(at)),
            (None, _) => Err(unknown_peer(name, "is no workload here", "name it as the listing does")),
            (Some((one, _)), Some((other, _))) => {
                let help = format!("name one of them whole, for instance {} or {}", self.name(one), self.name(other));
                Err(unknown_peer(name, "is the name of several workloads", &help))
            }
        }
    }

    fn have_other_networks(&self, from: u32, to: u32) -> bool {
        let has = |class: u32| self.model.classes.traits.get(class as usize).is_some_and(|one| one.has_other_networks);
        has(from) && has(to)
    }

    /// What decides on one side, in the order in which it is asked, as far as it matters for `asked`.
    fn side_reasons(&self, direction: Direction, workload: usize, peer: u32, asked: &PortSet) -> Vec<Reason> {
        let class = self.class(workload);
        let Some(traits) = self.model.classes.traits.get(class as usize) else { return Vec::new() };
        if traits.is_opaque {
            let here = self.cluster.workloads.get(workload).map(|one| &one.namespace);
            let is_here = |names: &[String]| names.is_empty() || here.is_some_and(|here| names.contains(here));
            let foreign = self.cluster.foreign.iter();
            let foreign = foreign.filter(|one| one.effect == Effect::Policy && is_here(&one.namespaces));
            let reason = |one: &crate::objects::Foreign| {
                Reason::doubt(
                    Some(one.span.clone()),
                    format!("{} `{}` is not analysed and may decide anything here", one.kind, one.name),
                )
            };
            return foreign.map(reason).collect();
        }
        let span = self.cluster.workloads.get(workload).map(|one| one.span.clone());
        if traits.is_host_network {
            return vec![Reason::plain(span, "it is on its node's network, where policies for pods do not apply")];
        }
        let selected = self.model.selected_by(direction, class);
        let mut reasons = self.policy_reasons(direction, class, &selected, peer, asked);
        if direction == Direction::Ingress && peer >= self.model.first_atom() && !traits.published.is_empty() {
            let text = "a service publishes it through nodes, whose traffic to their own pods no policy stops";
            reasons.push(Reason::doubt(span.clone(), format!("{text}: {}", traits.published)));
        }
        if self.model.hosts.contains(peer) && !selected.is_empty() {
            let text = "the other end is on its node's network: it may be this pod's own node, which always passes";
            reasons.push(Reason::doubt(span, text));
        }
        reasons
    }

    fn policy_reasons(
        &self,
        direction: Direction,
        class: u32,
        selected: &[(usize, Truth)],
        peer: u32,
        asked: &PortSet,
    ) -> Vec<Reason> {
        let judged = self.model.judge(direction, class, selected, peer);
        let mut reasons = Vec::new();
        let mut left = asked.clone();
        let (mut is_isolated, mut is_matched) = (Truth::No, false);
        let mut isolating = Vec::new();
        for ((number, _), judged) in selected.iter().zip(&judged) {
            let Some(policy) = self.model.plans.get(*number).and_then(|plan| self.cluster.policies.get(plan.policy))
            else {
                continue;
            };
            if policy.tier == Tier::Baseline && is_isolated == Truth::Yes {
                break;
            }
            if policy.tier == Tier::Namespaced {
                is_isolated = is_isolated.max(judged.selects);
                isolating.push((policy, judged.selects));
            }
            for (index, found) in judged.matches.iter().enumerate() {
                let ports = found.ports.only(&left);
                if ports.possible.is_empty() {
                    continue;
                }
                is_matched |= policy.tier == Tier::Namespaced;
                let doubt = ports.certain.is_empty();
                let rule = direction.rules(policy).and_then(|rules| rules.get(index));
                reasons.push(rule_reason(policy, index, rule, found.action, &ports.possible, doubt, judged.selects));
                if policy.tier != Tier::Namespaced && found.action != Action::Pass {
                    left = left.without(&ports.certain);
                }
            }
        }
        if !is_matched && !left.is_empty() {
            reasons.extend(isolating.iter().map(|(policy, selects)| isolation(policy, direction, *selects)));
        }
        if selected.is_empty() {
            reasons.push(Reason::plain(None, "no policy selects it in this direction: everything is allowed"));
        } else if reasons.is_empty() && !left.is_empty() {
            reasons.push(Reason::plain(None, "no rule matches, and no namespaced policy selects it: it is allowed"));
        }
        reasons
    }
}

impl crate::rows::Model {
    /// The policies that decide for one class.
    pub(crate) fn selected_by(&self, direction: Direction, class: u32) -> Vec<(usize, Truth)> {
        let plans = self.plans.iter().enumerate().filter(|(_, plan)| plan.rules(direction).is_some());
        let truth = |subject: usize| self.subjects.get(subject).map_or(Truth::No, |extent| extent.truth(class));
        plans.map(|(number, plan)| (number, truth(plan.subject))).filter(|(_, truth)| *truth != Truth::No).collect()
    }
}

/// A policy's name with its kind.
pub(crate) fn policy_name(policy: &Policy) -> String {
    match &policy.namespace {
        Some(namespace) => format!("{} {namespace}/{}", policy.kind, policy.name),
        None => format!("{} {}", policy.kind, policy.name),
    }
}

fn rule_reason(
    policy: &Policy,
    index: usize,
    rule: Option<&Rule>,
    action: Action,
    ports: &PortSet,
    is_doubt: bool,
    selects: Truth,
) -> Reason {
    let does = match action {
        Action::Accept => "allows",
        Action::Deny => "denies",
        Action::Pass => "leaves to the next tier",
    };
    let mut text = format!("{does} {ports}");
    if is_doubt {
        text = format!("may match and then {text}: {}", doubt(rule, selects));
    }
    Reason {
        span: rule.map(|rule| rule.span.clone()),
        policy: Some(policy_name(policy)),
        rule: Some(index),
        is_doubt,
        text,
    }
}

/// What keeps a match from being certain.
fn doubt(rule: Option<&Rule>, selects: Truth) -> String {
    if selects != Truth::Yes {
        return "whether the policy selects the pod depends on labels that are not stated".to_owned();
    }
    for peer in rule.iter().flat_map(|rule| rule.peers.iter().flatten()) {
        match peer {
            Peer::Outside(block) | Peer::Anywhere(block) => {
                return format!("whether pods with an address in {} count depends on the network plugin", block.cidr);
            }
            Peer::Unresolved(what) => return format!("{what} are not stated"),
            Peer::Pods(_) => {}
        }
    }
    "whether it matches depends on labels, names of ports or namespaces that are not stated".to_owned()
}

fn isolation(policy: &Policy, direction: Direction, selects: Truth) -> Reason {
    let (way, rules) = match direction {
        Direction::Ingress => ("in", policy.ingress.as_ref()),
        Direction::Egress => ("out", policy.egress.as_ref()),
    };
    let rules = match rules.map_or(0, Vec::len) {
        0 => "and has no rule".to_owned(),
        1 => "and its one rule does not match".to_owned(),
        many => format!("and none of its {many} rules matches"),
    };
    let is_doubt = selects != Truth::Yes;
    let text = if is_doubt {
        format!("may select it, by labels that are not stated, {rules}: nothing else is let {way}")
    } else {
        format!("selects it {rules}: nothing else is let {way}")
    };
    Reason { span: Some(policy.span.clone()), policy: Some(policy_name(policy)), rule: None, is_doubt, text }
}

fn unknown_peer(name: &str, what: &str, help: &str) -> Diagnostic {
    Diagnostic::error(NO_PEER, Span { file: name.to_owned(), line: 0, column: 0 }, format!("`{name}` {what}"), help)
}

impl Reason {
    fn plain(span: Option<Span>, text: impl Into<String>) -> Self {
        Self { span, policy: None, rule: None, is_doubt: false, text: text.into() }
    }

    fn doubt(span: Option<Span>, text: impl Into<String>) -> Self {
        Self { is_doubt: true, ..Self::plain(span, text) }
    }
}

/// `f.yaml:3: NetworkPolicy shop/web, rule 0: allows TCP 80`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(span) = &self.span {
            write!(f, "{}:{}: ", span.file, span.line)?;
        }
        if let Some(policy) = &self.policy {
            f.write_str(policy)?;
            if let Some(rule) = self.rule {
                write!(f, ", rule {rule}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.text)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "ALLOWED",
            Self::Partly => "PARTLY",
            Self::Unknown => "UNKNOWN",
            Self::Denied => "DENIED",
        })
    }
}

/// The verdict, and below it what decides on each side.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} → {} at {}", self.verdict, self.src, self.dst, self.asked)?;
        writeln!(f, "  certain: {}", self.conn.certain)?;
        let unsure = self.conn.unsure();
        if !unsure.is_empty() {
            writeln!(f, "  unknown: {unsure}")?;
        }
        for (title, reasons) in [("leaving", &self.egress), ("arriving", &self.ingress)] {
            if !reasons.is_empty() {
                writeln!(f, "  {title}:")?;
            }
            for reason in reasons {
                writeln!(f, "    {reason}")?;
            }
        }
        Ok(())
    }
}
