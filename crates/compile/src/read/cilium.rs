//! CiliumNetworkPolicy by its documentation, with NetworkPolicy beside it, which the same agent enforces. What some
//! policy allows is allowed; and of all rules that allow a connection, one without HTTP lets every method through.

use sekat_policy::Span;
use sekat_policy::intent::Protocol;

use crate::attempt::{Attempt, Kind, Party, Verdict};
use crate::cidr::Cidr;
use crate::read::Reader;
use crate::read::cursor::{Cursor, Reading, Sink};
use crate::read::kubernetes::{Direction, Policies, selects};
use crate::read::pattern::Regex;
use crate::read::selector::Selector;

/// All policies of a cluster.
#[derive(Debug)]
pub(crate) struct Cilium {
    policies: Vec<Policy>,
    plain: Policies,
}

#[derive(Debug)]
struct Policy {
    namespace: String,
    pods: Selector,
    ingress: Option<Section>,
    egress: Option<Section>,
}

/// What a policy says about a direction.
#[derive(Debug)]
struct Section {
    closes: bool,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    span: Span,
    /// None is everybody.
    peers: Option<Vec<Peer>>,
    /// None is every port.
    ports: Option<Vec<Ports>>,
}

#[derive(Debug)]
enum Peer {
    Pods { namespace: Option<String>, labels: Vec<(String, String)> },
    Entity(Entity),
    Range { range: Cidr, except: Vec<Cidr> },
}

#[derive(Clone, Copy, Debug)]
enum Entity {
    All,
    World,
    Cluster,
    Host,
}

#[derive(Debug)]
struct Ports {
    ports: Vec<(u16, Protocol)>,
    /// Method and path of each rule; none where HTTP is not read.
    http: Option<Vec<(Option<Regex>, Option<Regex>)>>,
}

impl Cilium {
    pub(crate) fn read(objects: &[Cursor<'_>], sink: &mut Sink) -> Self {
        let (foreign, own): (Vec<Cursor<'_>>, Vec<Cursor<'_>>) =
            objects.iter().partition(|object| object.kind() == "NetworkPolicy");
        let mut policies = Vec::new();
        for object in own {
            let is_known = object.kind() == "CiliumNetworkPolicy";
            let read = if is_known { Policy::read(object) } else { Err(object.unknown_kind()) };
            policies.extend(sink.keep(read));
        }
        let plain = Policies::read(&foreign, sink);
        for object in foreign {
            let message =
                format!("the NetworkPolicy `{}` switches off the methods of every port that it opens", object.name());
            sink.trap(object, message, "remove it: this target has rules of its own for all connections");
        }
        Self { policies, plain }
    }

    fn side(&self, direction: Direction, attempt: &Attempt<'_>) -> Verdict<'_> {
        let (subject, other) = match direction {
            Direction::Ingress => (attempt.to, attempt.from),
            Direction::Egress => (attempt.from, attempt.to),
        };
        if subject.kind != Kind::Pod {
            return Verdict::Allowed(None);
        }
        let plain = self.plain.side(direction, attempt);
        let mut closed = plain.isolated;
        let mut unread = plain.rule;
        let mut read = None;
        for policy in self.policies.iter().filter(|it| it.namespace == subject.namespace) {
            let section = if direction == Direction::Ingress { &policy.ingress } else { &policy.egress };
            let Some(section) = section.as_ref().filter(|_| selects(&policy.pods, &subject.labels)) else { continue };
            closed |= section.closes;
            for rule in section.rules.iter().filter(|rule| rule.is_for(&policy.namespace, other)) {
                match rule.at(attempt) {
                    At::Nothing => {}
                    At::Bytes => unread = unread.or(Some(&rule.span)),
                    At::Http(passes) => read = read.or(passes.then_some(&rule.span)),
                }
            }
        }
        match unread.or(read) {
            Some(span) => Verdict::Allowed(Some(span)),
            None if closed => Verdict::Denied,
            None => Verdict::Allowed(None),
        }
    }
}

impl Reader for Cilium {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict<'_> {
        if self.side(Direction::Egress, attempt).is_allowed() {
            self.side(Direction::Ingress, attempt)
        } else {
            Verdict::Denied
        }
    }

    fn ends(&self, attempt: &Attempt<'_>) -> Option<[Verdict<'_>; 2]> {
        Some([Direction::Ingress, Direction::Egress].map(|direction| self.side(direction, attempt)))
    }
}

impl Policy {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["apiVersion", "kind", "metadata", "spec"])?;
        let spec = at.required("spec")?;
        spec.only(&["endpointSelector", "enableDefaultDeny", "ingress", "egress"])?;
        let closes = |direction: &str| {
            let stated = spec.get("enableDefaultDeny").and_then(|it| it.get(direction));
            stated.map_or(Ok(true), |it| it.node.bool(it.file))
        };
        let section = |direction: &str, prefix: &str| {
            let rules = spec.each(direction, |rule| Rule::read(rule, prefix))?;
            let closes = closes(direction)?;
            Ok(rules.map(|rules| Section { closes, rules: rules.into_iter().flatten().collect() }))
        };
        Ok(Self {
            namespace: at.namespace().to_owned(),
            pods: Selector::read(spec.required("endpointSelector")?)?,
            ingress: section("ingress", "from")?,
            egress: section("egress", "to")?,
        })
    }
}

/// What a rule makes of a port.
enum At {
    Nothing,
    Bytes,
    Http(bool),
}

impl Rule {
    /// An empty rule allows nothing: it is how a section is stated without opening anything.
    fn read(at: Cursor<'_>, prefix: &str) -> Reading<Option<Self>> {
        if at.entries()?.is_empty() {
            return Ok(None);
        }
        let [endpoints, entities, ranges] = ["Endpoints", "Entities", "CIDRSet"].map(|what| format!("{prefix}{what}"));
        at.only(&[&endpoints, &entities, &ranges, "toPorts"])?;
        let mut peers: Option<Vec<Peer>> = at.each(&endpoints, Peer::pods)?;
        for more in [at.each(&entities, Peer::entity)?, at.each(&ranges, Peer::range)?].into_iter().flatten() {
            peers.get_or_insert_default().extend(more);
        }
        Ok(Some(Self { span: at.span(), peers, ports: at.each("toPorts", Ports::read)? }))
    }

    fn is_for(&self, namespace: &str, party: &Party) -> bool {
        self.peers.as_ref().is_none_or(|peers| peers.iter().any(|peer| peer.holds(namespace, party)))
    }

    fn at(&self, attempt: &Attempt<'_>) -> At {
        let Some(ports) = &self.ports else { return At::Bytes };
        let mut found = At::Nothing;
        for ports in ports.iter().filter(|ports| ports.ports.contains(&(attempt.port, attempt.protocol))) {
            let Some(http) = &ports.http else { return At::Bytes };
            let is = |regex: &Option<Regex>, text: &str| regex.as_ref().is_none_or(|regex| regex.matches(text));
            let passes = attempt.path.is_some_and(|path| http.iter().any(|(how, at)| is(how, "POST") && is(at, path)));
            found = At::Http(passes || matches!(found, At::Http(true)));
        }
        found
    }
}

impl Peer {
    fn pods(at: Cursor<'_>) -> Reading<Self> {
        let selector = Selector::read(at)?;
        if !selector.is_plain() {
            return Err(at.not_understood("an endpoint with matchExpressions"));
        }
        let is_namespace = |key: &str| key == "k8s:io.kubernetes.pod.namespace" || key == "io.kubernetes.pod.namespace";
        let named = selector.labels().iter().find(|(key, _)| is_namespace(key));
        let labels = selector.labels().iter().filter(|(key, _)| !is_namespace(key));
        let plain = |key: &String| key.strip_prefix("k8s:").unwrap_or(key).to_owned();
        Ok(Self::Pods {
            namespace: named.map(|(_, name)| name.clone()),
            labels: labels.map(|(key, value)| (plain(key), value.clone())).collect(),
        })
    }

    fn entity(at: Cursor<'_>) -> Reading<Self> {
        match at.text()? {
            "all" => Ok(Self::Entity(Entity::All)),
            "world" => Ok(Self::Entity(Entity::World)),
            "cluster" => Ok(Self::Entity(Entity::Cluster)),
            "host" => Ok(Self::Entity(Entity::Host)),
            _ => Err(at.not_understood("this entity")),
        }
    }

    fn range(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["cidr", "except"])?;
        let except = at.each("except", Cursor::range)?.unwrap_or_default();
        Ok(Self::Range { range: at.required("cidr")?.range()?, except })
    }

    /// Without a statement about it, the namespace is the policy's own.
    fn holds(&self, own: &str, party: &Party) -> bool {
        match self {
            Self::Pods { namespace, labels } => {
                let in_namespace = party.namespace == namespace.as_deref().unwrap_or(own);
                let has = |(key, value): &(String, String)| party.labels.get(key) == Some(value);
                party.kind == Kind::Pod && in_namespace && labels.iter().all(has)
            }
            Self::Entity(Entity::All) => true,
            Self::Entity(Entity::World) => party.kind == Kind::Outside,
            Self::Entity(Entity::Cluster) => party.kind != Kind::Outside,
            Self::Entity(Entity::Host) => party.kind == Kind::Node,
            // What is inside the cluster is known by its labels, never by its address.
            Self::Range { range, except } => {
                let excepted = except.iter().any(|hole| hole.contains(party.address));
                party.kind == Kind::Outside && range.contains(party.address) && !excepted
            }
        }
    }
}

impl Ports {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["ports", "rules"])?;
        let number = |at: Cursor<'_>| {
            at.only(&["port", "protocol"])?;
            // Without a protocol this API means any, unlike others.
            if at.get("protocol").is_none() {
                return Err(at.not_understood("a port without a protocol"));
            }
            Ok((at.required("port")?.port()?, at.protocol()?))
        };
        let http = at.get("rules").map(|rules| {
            rules.only(&["http"])?;
            let rule = |at: Cursor<'_>| {
                at.only(&["method", "path"])?;
                let part = |key| at.get(key).map(Regex::read).transpose();
                Ok((part("method")?, part("path")?))
            };
            // No rule for HTTP is no reading of it.
            Ok(rules.each("http", rule)?.filter(|rules| !rules.is_empty()))
        });
        Ok(Self { ports: at.each("ports", number)?.unwrap_or_default(), http: http.transpose()?.flatten() })
    }
}
