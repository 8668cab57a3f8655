//! NetworkPolicy by its API reference: a pod that no policy selects in a direction is open in it; one that is selected
//! is open to the union of what the rules allow; both ends must agree.

use std::collections::BTreeMap;

use sekat_policy::Span;
use sekat_policy::intent::Protocol;

use crate::attempt::{Attempt, Kind, Party, Verdict};
use crate::cidr::Cidr;
use crate::read::Reader;
use crate::read::cursor::{Cursor, Reading, Sink};
use crate::read::selector::Selector;

/// All policies of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    /// By namespace: a policy selects pods of its own only.
    policies: BTreeMap<String, Vec<Policy>>,
}

#[derive(Debug)]
struct Policy {
    namespace: String,
    pods: Selector,
    /// The rules of a direction that the policy speaks about.
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
}

#[derive(Debug)]
struct Rule {
    span: Span,
    /// None, like an empty list, is everybody.
    peers: Vec<Peer>,
    ports: Vec<Ports>,
}

#[derive(Debug)]
enum Peer {
    /// Without a selector of namespaces, those of the policy's own.
    Pods {
        namespaces: Option<Selector>,
        pods: Selector,
    },
    Block {
        range: Cidr,
        except: Vec<Cidr>,
    },
}

#[derive(Debug)]
struct Ports {
    protocol: Protocol,
    /// First and last; none for all.
    range: Option<(u16, u16)>,
}

/// What the policies of one direction say about one end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    /// Some policy selects it.
    pub(crate) isolated: bool,
    /// The rule that lets the attempt through.
    pub(crate) rule: Option<&'a Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

impl Policies {
    pub(crate) fn read(objects: &[Cursor<'_>], sink: &mut Sink) -> Self {
        let mut policies: BTreeMap<String, Vec<Policy>> = BTreeMap::new();
        for object in objects {
            let read =
                if object.kind() == "NetworkPolicy" { Policy::read(*object) } else { Err(object.unknown_kind()) };
            if let Some(policy) = sink.keep(read) {
                policies.entry(policy.namespace.clone()).or_default().push(policy);
            }
        }
        Self { policies }
    }

    /// Whether one end of an attempt is closed in a direction, and what opens it.
    pub(crate) fn side(&self, direction: Direction, attempt: &Attempt<'_>) -> Side<'_> {
        let (subject, other) = match direction {
            Direction::Ingress => (attempt.to, attempt.from),
            Direction::Egress => (attempt.from, attempt.to),
        };
        let mut side = Side { isolated: false, rule: None };
        if subject.kind != Kind::Pod {
            return side;
        }
        for policy in self.policies.get(&subject.namespace).into_iter().flatten() {
            let rules = match direction {
                Direction::Ingress => &policy.ingress,
                Direction::Egress => &policy.egress,
            };
            let Some(rules) = rules.as_ref().filter(|_| policy.selects(subject)) else { continue };
            side.isolated = true;
            let rule = rules.iter().find(|rule| rule.matches(&policy.namespace, other, attempt));
            side.rule = side.rule.or(rule.map(|rule| &rule.span));
        }
        side
    }
}

impl Reader for Policies {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict<'_> {
        match self.side(Direction::Egress, attempt).verdict() {
            Verdict::Allowed(_) => self.side(Direction::Ingress, attempt).verdict(),
            Verdict::Denied => Verdict::Denied,
        }
    }

    fn ends(&self, attempt: &Attempt<'_>) -> Option<[Verdict<'_>; 2]> {
        Some([Direction::Ingress, Direction::Egress].map(|direction| self.side(direction, attempt).verdict()))
    }
}

impl<'a> Side<'a> {
    const fn verdict(self) -> Verdict<'a> {
        if self.isolated && self.rule.is_none() { Verdict::Denied } else { Verdict::Allowed(self.rule) }
    }
}

impl Policy {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["apiVersion", "kind", "metadata", "spec"])?;
        let spec = at.required("spec")?;
        spec.only(&["podSelector", "policyTypes", "ingress", "egress"])?;
        // Without a statement: ingress always, egress where there are rules for it.
        let types = spec.texts("policyTypes")?.filter(|types| !types.is_empty());
        let has = |name: &str, default| types.as_ref().map_or(default, |types| types.iter().any(|it| it == name));
        let ingress = spec.each("ingress", |rule| Rule::read(rule, "from"))?;
        let egress = spec.each("egress", |rule| Rule::read(rule, "to"))?;
        Ok(Self {
            namespace: at.namespace().to_owned(),
            pods: spec.get("podSelector").map_or(Ok(Selector::default()), Selector::read)?,
            ingress: has("Ingress", true).then(|| ingress.unwrap_or_default()),
            egress: has("Egress", egress.is_some()).then(|| egress.unwrap_or_default()),
        })
    }

    fn selects(&self, party: &Party) -> bool {
        party.namespace == self.namespace && selects(&self.pods, &party.labels)
    }
}

impl Rule {
    fn read(at: Cursor<'_>, peers: &str) -> Reading<Self> {
        at.only(&[peers, "ports"])?;
        Ok(Self {
            span: at.span(),
            peers: at.each(peers, Peer::read)?.unwrap_or_default(),
            ports: at.each("ports", Ports::read)?.unwrap_or_default(),
        })
    }

    fn matches(&self, namespace: &str, other: &Party, attempt: &Attempt<'_>) -> bool {
        let is_peer = self.peers.is_empty() || self.peers.iter().any(|peer| peer.matches(namespace, other));
        is_peer && (self.ports.is_empty() || self.ports.iter().any(|ports| ports.hold(attempt)))
    }
}

impl Peer {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        if let Some(block) = at.get("ipBlock") {
            at.only(&["ipBlock"])?;
            block.only(&["cidr", "except"])?;
            let except = block.each("except", Cursor::range)?.unwrap_or_default();
            return Ok(Self::Block { range: block.required("cidr")?.range()?, except });
        }
        at.only(&["namespaceSelector", "podSelector"])?;
        let namespaces = at.get("namespaceSelector").map(Selector::read).transpose()?;
        let pods = at.get("podSelector").map(Selector::read).transpose()?;
        if namespaces.is_none() && pods.is_none() {
            return Err(at.not_understood("a peer without a selector"));
        }
        Ok(Self::Pods { namespaces, pods: pods.unwrap_or_default() })
    }

    fn matches(&self, own: &str, party: &Party) -> bool {
        match self {
            Self::Block { range, except } => {
                range.contains(party.address) && !except.iter().any(|hole| hole.contains(party.address))
            }
            Self::Pods { namespaces, pods } => {
                let in_namespace = match namespaces {
                    None => party.namespace == own,
                    Some(selector) => selects_namespace(selector, &party.namespace),
                };
                party.kind == Kind::Pod && in_namespace && selects(pods, &party.labels)
            }
        }
    }
}

/// Whether a selector of pods selects labels.
pub(crate) fn selects(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    selector.matches(|key| labels.get(key).map(String::as_str))
}

/// Whether a selector of namespaces selects the one of that name, which has no label but the one that Kubernetes sets.
pub(crate) fn selects_namespace(selector: &Selector, name: &str) -> bool {
    selector.matches(|key| (key == "kubernetes.io/metadata.name").then_some(name))
}

impl Ports {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["port", "endPort", "protocol"])?;
        let first = at.get("port").map(Cursor::port).transpose()?;
        let last = at.get("endPort").map(Cursor::port).transpose()?;
        if first.is_none() && last.is_some() {
            return Err(at.not_understood("an endPort without a port"));
        }
        Ok(Self { protocol: at.protocol()?, range: first.map(|first| (first, last.unwrap_or(first))) })
    }

    fn hold(&self, attempt: &Attempt<'_>) -> bool {
        let in_range = self.range.is_none_or(|(first, last)| (first..=last).contains(&attempt.port));
        self.protocol == attempt.protocol && in_range
    }
}
