//! Istio's AuthorizationPolicy and PeerAuthentication by their API reference: DENY before ALLOW, a workload without any
//! ALLOW policy is open, and what is compared of HTTP cannot match what is not HTTP, except in a DENY, where it is
//! dropped and the rest still denies.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sekat_policy::Span;

use crate::attempt::{Attempt, Party, Verdict};
use crate::cidr::Cidr;
use crate::read::Reader;
use crate::read::cursor::{Cursor, Reading, Sink};
use crate::read::kubernetes::selects;
use crate::read::pattern::Pattern;
use crate::read::selector::Selector;

/// A mesh of sidecars.
#[derive(Debug)]
pub(crate) struct Sidecars {
    policies: Vec<Policy>,
    modes: Vec<Mode>,
}

/// An AuthorizationPolicy.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) namespace: String,
    pub(crate) scope: Scope,
    denies: bool,
    rules: Vec<Rule>,
}

/// Whom a policy speaks about.
#[derive(Debug)]
pub(crate) enum Scope {
    Namespace,
    Pods(Selector),
    /// Kind and name.
    Targets(Vec<(String, String)>),
}

#[derive(Debug)]
struct Rule {
    span: Span,
    /// None is anybody.
    from: Option<Vec<Source>>,
    /// None is anything.
    to: Option<Vec<Operation>>,
}

#[derive(Debug)]
struct Source {
    principals: Option<Vec<Pattern>>,
    ranges: Option<Vec<Cidr>>,
}

#[derive(Debug)]
struct Operation {
    ports: Option<Vec<u16>>,
    methods: Option<Vec<Pattern>>,
    paths: Option<Vec<Pattern>>,
    not_paths: Option<Vec<Pattern>>,
}

/// What an enforcer knows of an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// From the certificate, without the scheme; none without a certificate.
    pub(crate) principal: Option<&'a str>,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// The path, where the enforcer reads HTTP and this is HTTP.
    pub(crate) path: Option<&'a str>,
}

/// A PeerAuthentication.
#[derive(Debug)]
pub(crate) struct Mode {
    namespace: String,
    pods: Option<Selector>,
    strict: Option<bool>,
    ports: BTreeMap<u16, bool>,
}

impl Sidecars {
    pub(crate) fn read(objects: &[Cursor<'_>], sink: &mut Sink) -> Self {
        let (mut policies, mut modes) = (Vec::new(), Vec::new());
        for object in objects {
            match object.kind() {
                "AuthorizationPolicy" => {
                    let policy = Policy::read(*object, sink);
                    let policy = sink.keep(policy);
                    if matches!(policy, Some(Policy { scope: Scope::Targets(_), .. })) {
                        sink.trap(*object, "a sidecar ignores targetRefs", "use a selector");
                    }
                    policies.extend(policy);
                }
                "PeerAuthentication" => {
                    let mode = Mode::read(*object);
                    modes.extend(sink.keep(mode));
                }
                _ => sink.found.push(object.unknown_kind()),
            }
        }
        require_strict(objects, &modes, sink);
        Self { policies, modes }
    }
}

impl Reader for Sidecars {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict<'_> {
        let strict = is_strict(&self.modes, attempt.to, attempt.port);
        let principal = principal(attempt.from);
        if strict && principal.is_none() {
            return Verdict::Denied;
        }
        let (principal, path) = (principal.as_deref(), attempt.path);
        let view = View { principal, address: attempt.from.address, port: attempt.port, path };
        decide(self.policies.iter().filter(|policy| policy.covers(attempt.to)), view)
    }
}

/// What all policies that speak about the callee decide together.
pub(crate) fn decide<'p>(policies: impl Iterator<Item = &'p Policy>, view: View<'_>) -> Verdict<'p> {
    let mut verdict = Verdict::Allowed(None);
    for policy in policies {
        let rule = policy.rules.iter().find(|rule| rule.matches(policy.denies, view));
        match (policy.denies, rule) {
            (true, Some(_)) => return Verdict::Denied,
            (true, None) => {}
            (false, Some(rule)) => verdict = Verdict::Allowed(Some(&rule.span)),
            // The first ALLOW policy closes what it does not open; another may have opened it.
            (false, None) if verdict == Verdict::Allowed(None) => verdict = Verdict::Denied,
            (false, None) => {}
        }
    }
    verdict
}

/// The name of a party's certificate in a mesh, if it has one.
pub(crate) fn principal(party: &Party) -> Option<String> {
    let Party { trust_domain, namespace, service_account, identity, .. } = party;
    (!identity.is_empty()).then(|| format!("{trust_domain}/ns/{namespace}/sa/{service_account}"))
}

/// Whether a port takes only peers with a certificate: the narrowest statement counts.
pub(crate) fn is_strict(modes: &[Mode], callee: &Party, port: u16) -> bool {
    let here = || modes.iter().filter(|mode| mode.namespace == callee.namespace);
    let selecting = |mode: &&Mode| mode.pods.as_ref().is_some_and(|pods| selects(pods, &callee.labels));
    let of_port = here().filter(selecting).find_map(|mode| mode.ports.get(&port).copied());
    let of_pods = here().filter(selecting).find_map(|mode| mode.strict);
    let of_namespace = here().filter(|mode| mode.pods.is_none()).find_map(|mode| mode.strict);
    // Without a statement a port takes both.
    of_port.or(of_pods).or(of_namespace).unwrap_or(false)
}

/// Where principals are compared there has to be mutual TLS, or there are none.
pub(crate) fn require_strict(objects: &[Cursor<'_>], modes: &[Mode], sink: &mut Sink) {
    let policies = objects.iter().filter(|object| object.kind() == "AuthorizationPolicy");
    let namespaces: BTreeMap<&str, &Cursor<'_>> = policies.map(|object| (object.namespace(), object)).collect();
    for (namespace, object) in namespaces {
        let covers = |mode: &Mode| mode.namespace == namespace && mode.pods.is_none() && mode.strict == Some(true);
        if !modes.iter().any(covers) {
            let message =
                format!("nothing demands mutual TLS in the namespace {namespace}, so principals may be missing");
            sink.trap(*object, message, "add a PeerAuthentication of the mode STRICT without a selector");
        }
    }
}

impl Policy {
    pub(crate) fn read(at: Cursor<'_>, sink: &mut Sink) -> Reading<Self> {
        at.only(&["apiVersion", "kind", "metadata", "spec"])?;
        let spec = at.required("spec")?;
        spec.only(&["selector", "targetRefs", "action", "rules"])?;
        let scope = match (spec.get("selector"), spec.get("targetRefs")) {
            (None, None) => Scope::Namespace,
            (Some(pods), None) => Scope::Pods(Selector::read(pods)?),
            (None, Some(targets)) => Scope::Targets(targets.items()?.into_iter().map(target).collect::<Reading<_>>()?),
            (Some(_), Some(_)) => return Err(spec.not_understood("a policy with a selector and targetRefs")),
        };
        let denies = match spec.text_of("action")? {
            "" | "ALLOW" => false,
            "DENY" => true,
            _ => return Err(spec.not_understood("an action other than ALLOW and DENY")),
        };
        let rules = spec.get("rules").map_or(Ok(Vec::new()), Cursor::items)?;
        let rules = rules.into_iter().map(|rule| Rule::read(rule, denies, sink)).collect::<Reading<_>>()?;
        Ok(Self { namespace: at.namespace().to_owned(), scope, denies, rules })
    }

    /// Whether it speaks about a workload, to an enforcer that knows its labels.
    pub(crate) fn covers(&self, callee: &Party) -> bool {
        self.namespace == callee.namespace
            && match &self.scope {
                Scope::Namespace => true,
                Scope::Pods(pods) => selects(pods, &callee.labels),
                Scope::Targets(_) => false,
            }
    }

    /// Whether some rule compares anything of HTTP.
    pub(crate) fn reads_http(&self) -> bool {
        self.rules.iter().flat_map(|rule| rule.to.iter().flatten()).any(Operation::reads_http)
    }
}

fn target(at: Cursor<'_>) -> Reading<(String, String)> {
    at.only(&["kind", "group", "name"])?;
    Ok((at.required("kind")?.text()?.to_owned(), at.required("name")?.text()?.to_owned()))
}

impl Rule {
    fn read(at: Cursor<'_>, denies: bool, sink: &mut Sink) -> Reading<Self> {
        at.only(&["from", "to"])?;
        let from = at.each("from", |source| {
            source.only(&["source"])?;
            Source::read(source.required("source")?)
        })?;
        let mut to = None;
        if let Some(operations) = at.get("to") {
            for at in operations.items()? {
                at.only(&["operation"])?;
                let operation = Operation::read(at.required("operation")?)?;
                operation.look_for_traps(at, denies, sink);
                to.get_or_insert_with(Vec::new).push(operation);
            }
        }
        for at in at.get("from").map_or(Ok(Vec::new()), Cursor::items)? {
            for name in at.get("source").and_then(|it| it.texts("principals").ok()?).unwrap_or_default() {
                if name.contains('*') || name.contains("://") {
                    let message = format!("the principal `{name}` is more or something else than one identity");
                    sink.trap(at, message, "write trust-domain/ns/namespace/sa/account in full, without a scheme");
                }
            }
        }
        Ok(Self { span: at.span(), from, to })
    }

    fn matches(&self, denies: bool, view: View<'_>) -> bool {
        self.from.as_ref().is_none_or(|from| from.iter().any(|source| source.matches(view)))
            && self.to.as_ref().is_none_or(|to| to.iter().any(|operation| operation.matches(denies, view)))
    }
}

impl Source {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["principals", "ipBlocks"])?;
        Ok(Self { principals: patterns(at, "principals")?, ranges: at.each("ipBlocks", Cursor::range)? })
    }

    fn matches(&self, view: View<'_>) -> bool {
        let named = |patterns: &Vec<Pattern>| {
            view.principal.is_some_and(|principal| patterns.iter().any(|pattern| pattern.matches(principal)))
        };
        self.principals.as_ref().is_none_or(named)
            && self.ranges.as_ref().is_none_or(|ranges| ranges.iter().any(|range| range.contains(view.address)))
    }
}

impl Operation {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["ports", "methods", "paths", "notPaths"])?;
        Ok(Self {
            ports: at.each("ports", Cursor::port)?,
            methods: patterns(at, "methods")?,
            paths: patterns(at, "paths")?,
            not_paths: patterns(at, "notPaths")?,
        })
    }

    const fn reads_http(&self) -> bool {
        self.methods.is_some() || self.paths.is_some() || self.not_paths.is_some()
    }

    fn look_for_traps(&self, at: Cursor<'_>, denies: bool, sink: &mut Sink) {
        if denies && self.reads_http() && self.ports.is_none() {
            let message = "a DENY on HTTP without `ports` denies every connection that is not HTTP";
            sink.trap(at, message, "name the ports");
        }
        let is_post = |pattern: &Pattern| pattern.matches("POST");
        if self.methods.as_ref().is_some_and(|methods| !methods.iter().any(is_post)) {
            sink.trap(at, "`methods` are of HTTP, and gRPC only has POST", "write POST, and the RPC's path in `paths`");
        }
    }

    fn matches(&self, denies: bool, view: View<'_>) -> bool {
        if self.ports.as_ref().is_some_and(|ports| !ports.contains(&view.port)) {
            return false;
        }
        let Some(path) = view.path else { return denies || !self.reads_http() };
        let any = |patterns: &Option<Vec<Pattern>>, text: &str, default| {
            patterns.as_ref().map_or(default, |patterns| patterns.iter().any(|pattern| pattern.matches(text)))
        };
        any(&self.methods, "POST", true) && any(&self.paths, path, true) && !any(&self.not_paths, path, false)
    }
}

fn patterns(at: Cursor<'_>, key: &str) -> Reading<Option<Vec<Pattern>>> {
    at.each(key, |item| item.text().map(Pattern::new))
}

impl Mode {
    pub(crate) fn read(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["apiVersion", "kind", "metadata", "spec"])?;
        let spec = at.required("spec")?;
        spec.only(&["selector", "mtls", "portLevelMtls"])?;
        let mut ports = BTreeMap::new();
        for (key, mode) in spec.get("portLevelMtls").map_or(Ok(Vec::new()), Cursor::entries)? {
            let port = key.name.parse().map_err(|_| mode.not_understood("a port that is not a number"))?;
            ports.extend(strict(mode)?.map(|strict| (port, strict)));
        }
        Ok(Self {
            namespace: at.namespace().to_owned(),
            pods: spec.get("selector").map(Selector::read).transpose()?,
            strict: spec.get("mtls").map_or(Ok(None), strict)?,
            ports,
        })
    }
}

fn strict(at: Cursor<'_>) -> Reading<Option<bool>> {
    match at.text_of("mode")? {
        "STRICT" => Ok(Some(true)),
        "PERMISSIVE" | "DISABLE" => Ok(Some(false)),
        "" | "UNSET" => Ok(None),
        _ => Err(at.not_understood("this mode")),
    }
}
