//! ClusterNetworkPolicy v1alpha2, tier Admin: by priority, then by the order of rules, the first rule that matches
//! decides. `Pass`, like no rule at all, leaves the decision to others, and counts as allowed here.

use sekat_policy::Span;
use sekat_policy::intent::Protocol;

use crate::attempt::{Attempt, Kind, Party, Verdict};
use crate::read::Reader;
use crate::read::cursor::{Cursor, Reading, Sink};
use crate::read::kubernetes::{selects, selects_namespace};
use crate::read::selector::Selector;

/// All policies, by priority.
#[derive(Debug)]
pub(crate) struct Walls {
    policies: Vec<Policy>,
}

#[derive(Debug)]
struct Policy {
    priority: u16,
    subject: Peer,
    ingress: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    span: Span,
    denies: bool,
    from: Vec<Peer>,
    /// None for all.
    protocols: Option<Vec<Ports>>,
}

/// A protocol and the first and last port; none for all.
type Ports = (Protocol, Option<(u16, u16)>);

#[derive(Debug)]
enum Peer {
    Namespaces(Selector),
    Pods { namespaces: Selector, pods: Selector },
}

impl Walls {
    pub(crate) fn read(objects: &[Cursor<'_>], sink: &mut Sink) -> Self {
        let mut policies = Vec::new();
        for object in objects {
            let is_known = object.kind() == "ClusterNetworkPolicy";
            let read = if is_known { Policy::read(*object, sink) } else { Err(object.unknown_kind()) };
            policies.extend(sink.keep(read));
        }
        policies.sort_by_key(|policy| policy.priority);
        Self { policies }
    }
}

impl Reader for Walls {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict<'_> {
        let mut decided: Option<(u16, bool, &Span)> = None;
        for policy in self.policies.iter().filter(|policy| policy.subject.holds(attempt.to)) {
            let Some(rule) = policy.ingress.iter().find(|rule| rule.matches(attempt)) else { continue };
            match decided {
                // Of equal priorities an implementation may take any; what one of them lets through is let through.
                Some((priority, true, _)) if priority == policy.priority && !rule.denies => {}
                Some(_) => continue,
                None => {}
            }
            decided = Some((policy.priority, rule.denies, &rule.span));
        }
        match decided {
            Some((_, true, _)) => Verdict::Denied,
            Some((_, false, span)) => Verdict::Allowed(Some(span)),
            None => Verdict::Allowed(None),
        }
    }
}

impl Policy {
    fn read(at: Cursor<'_>, sink: &mut Sink) -> Reading<Self> {
        at.only(&["apiVersion", "kind", "metadata", "spec"])?;
        let spec = at.required("spec")?;
        spec.only(&["tier", "priority", "subject", "ingress"])?;
        let tier = spec.required("tier")?;
        if tier.text()? != "Admin" {
            return Err(tier.not_understood("a tier other than Admin"));
        }
        let rules = spec.get("ingress").map_or(Ok(Vec::new()), Cursor::items)?;
        if rules.len() > 25 {
            return Err(spec.not_understood("a policy of more than 25 rules"));
        }
        let priority = spec.required("priority")?;
        if priority.port()? > 1000 {
            return Err(priority.not_understood("a priority above 1000"));
        }
        let ingress = rules.into_iter().map(|rule| Rule::read(rule, sink)).collect::<Reading<Vec<Rule>>>()?;
        Ok(Self { priority: priority.port()?, subject: Peer::read(spec.required("subject")?)?, ingress })
    }
}

impl Rule {
    fn read(at: Cursor<'_>, sink: &mut Sink) -> Reading<Self> {
        at.only(&["name", "action", "from", "protocols"])?;
        let action = at.required("action")?;
        let denies = match action.text()? {
            "Deny" => true,
            "Pass" => false,
            "Accept" => {
                let message = "an Accept of the Admin tier overrules every NetworkPolicy";
                sink.trap(action, message, "write Pass, which leaves the decision to them");
                false
            }
            _ => return Err(action.not_understood("this action")),
        };
        let from = at.required("from")?.items()?;
        if from.is_empty() || from.len() > 25 {
            return Err(at.not_understood("a rule that has not 1 to 25 peers"));
        }
        Ok(Self {
            span: at.span(),
            denies,
            from: from.into_iter().map(Peer::read).collect::<Reading<_>>()?,
            protocols: at.each("protocols", protocol)?,
        })
    }

    fn matches(&self, attempt: &Attempt<'_>) -> bool {
        let at_port = |(protocol, range): &Ports| {
            *protocol == attempt.protocol && range.is_none_or(|(first, last)| (first..=last).contains(&attempt.port))
        };
        self.from.iter().any(|peer| peer.holds(attempt.from))
            && self.protocols.as_ref().is_none_or(|protocols| protocols.iter().any(at_port))
    }
}

fn protocol(at: Cursor<'_>) -> Reading<Ports> {
    at.only(&["tcp", "udp", "sctp"])?;
    for (key, protocol) in [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)] {
        let Some(inner) = at.get(key) else { continue };
        inner.only(&["destinationPort"])?;
        let Some(port) = inner.get("destinationPort") else { return Ok((protocol, None)) };
        port.only(&["number", "range"])?;
        let range = match port.get("range") {
            None => [port.required("number")?; 2],
            Some(range) => [range.required("start")?, range.required("end")?],
        };
        let [first, last] = range.map(Cursor::port);
        return Ok((protocol, Some((first?, last?))));
    }
    Err(at.not_understood("a protocol without a name"))
}

impl Peer {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["namespaces", "pods"])?;
        match (at.get("namespaces"), at.get("pods")) {
            (Some(namespaces), None) => Ok(Self::Namespaces(Selector::read(namespaces)?)),
            (None, Some(pods)) => {
                pods.only(&["namespaceSelector", "podSelector"])?;
                Ok(Self::Pods {
                    namespaces: Selector::read(pods.required("namespaceSelector")?)?,
                    pods: Selector::read(pods.required("podSelector")?)?,
                })
            }
            _ => Err(at.not_understood("a peer that is not one of namespaces and pods")),
        }
    }

    fn holds(&self, party: &Party) -> bool {
        party.kind == Kind::Pod
            && match self {
                Self::Namespaces(selector) => selects_namespace(selector, &party.namespace),
                Self::Pods { namespaces, pods } => {
                    selects_namespace(namespaces, &party.namespace) && selects(pods, &party.labels)
                }
            }
    }
}
