//! Linkerd's policy by its reference: a port with a Server follows it, any other follows the default of its namespace,
//! which without a statement lets everybody in. On a Server with routes a call has to match one, and a policy on that
//! route or on the Server has to let it pass, with all that it requires.

use std::collections::BTreeMap;

use sekat_policy::Span;

use crate::attempt::{Attempt, Kind, Party, Verdict};
use crate::cidr::Cidr;
use crate::read::Reader;
use crate::read::cursor::{Cursor, Reading, Sink};
use crate::read::kubernetes::selects;
use crate::read::selector::Selector;

/// Namespace and name.
type Key = (String, String);

/// All policy of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Linkerd {
    /// Namespaces whose default is to deny.
    closed: Vec<String>,
    servers: Vec<Server>,
    routes: Vec<Route>,
    authentications: BTreeMap<(&'static str, Key), Authentication>,
    authorizations: Vec<Authorization>,
}

#[derive(Debug)]
struct Server {
    key: Key,
    pods: Selector,
    port: u16,
    /// Whether everybody is let in, whatever else is stated.
    open: bool,
    reads_grpc: bool,
}

#[derive(Debug)]
struct Route {
    key: Key,
    server: String,
    /// Service and method; none for all of it.
    methods: Vec<(Option<String>, Option<String>)>,
}

#[derive(Debug)]
enum Authentication {
    /// Namespace and account of each.
    Accounts(Vec<Key>),
    Networks(Vec<Cidr>),
}

#[derive(Debug)]
struct Authorization {
    span: Span,
    namespace: String,
    /// Kind and name.
    target: (String, String),
    /// All of these have to hold.
    required: Vec<(&'static str, String)>,
}

const MESH_TLS: &str = "MeshTLSAuthentication";
const NETWORK: &str = "NetworkAuthentication";

impl Linkerd {
    pub(crate) fn read(objects: &[Cursor<'_>], sink: &mut Sink) -> Self {
        let mut all = Self::default();
        for object in objects {
            let read = all.take(*object, sink);
            sink.keep(read);
        }
        all
    }

    fn take(&mut self, at: Cursor<'_>, sink: &mut Sink) -> Reading<()> {
        at.only(&["apiVersion", "kind", "metadata", "spec"])?;
        let key = (at.namespace().to_owned(), at.name().to_owned());
        if at.kind() == "Namespace" {
            let annotations = at.required("metadata")?.get("annotations");
            let default = annotations.map_or(Ok(""), |it| it.text_of("config.linkerd.io/default-inbound-policy"))?;
            self.closed.extend((default == "deny").then_some(key.1));
            return Ok(());
        }
        let spec = at.required("spec")?;
        match at.kind() {
            "Server" => self.servers.push(Server::read(spec, key)?),
            "GRPCRoute" => self.routes.extend(Route::read(spec, &key)?),
            MESH_TLS => {
                let accounts = accounts(spec, sink)?;
                self.authentications.insert((MESH_TLS, key), Authentication::Accounts(accounts));
            }
            NETWORK => {
                spec.only(&["networks"])?;
                let network = |it: Cursor<'_>| it.only(&["cidr"]).and_then(|()| it.required("cidr")?.range());
                let networks = Authentication::Networks(spec.each("networks", network)?.unwrap_or_default());
                self.authentications.insert((NETWORK, key), networks);
            }
            "AuthorizationPolicy" => self.authorizations.push(Authorization::read(spec, at)?),
            _ => return Err(at.unknown_kind()),
        }
        Ok(())
    }

    /// The policy that lets `from` pass at a target.
    fn authorized(&self, namespace: &str, kind: &str, name: &str, from: &Party) -> Option<&Span> {
        let meant = self
            .authorizations
            .iter()
            .filter(|policy| policy.namespace == namespace && policy.target.0 == kind && policy.target.1 == name);
        let holds = |policy: &&Authorization| {
            policy.required.iter().all(|(kind, name)| {
                let key = (*kind, (namespace.to_owned(), name.clone()));
                self.authentications.get(&key).is_some_and(|authentication| authentication.proves(from))
            })
        };
        meant.filter(holds).map(|policy| &policy.span).next()
    }
}

impl Reader for Linkerd {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict<'_> {
        let Attempt { from, to, .. } = *attempt;
        let selects = |server: &&Server| {
            server.key.0 == to.namespace && server.port == attempt.port && selects(&server.pods, &to.labels)
        };
        let Some(server) = self.servers.iter().find(selects) else {
            let is_closed = self.closed.contains(&to.namespace);
            return if is_closed { Verdict::Denied } else { Verdict::Allowed(None) };
        };
        if server.open {
            return Verdict::Allowed(None);
        }
        let (namespace, name) = (&server.key.0, &server.key.1);
        if server.reads_grpc && attempt.path.is_none() {
            return Verdict::Denied;
        }
        let mut allowed = self.authorized(namespace, "Server", name, from);
        let mut routes =
            self.routes.iter().filter(|route| route.key.0 == *namespace && route.server == *name).peekable();
        if server.reads_grpc && routes.peek().is_some() {
            let matching = routes.filter(|route| attempt.path.is_some_and(|path| route.matches(path)));
            let by_route =
                matching.map(|route| allowed.or_else(|| self.authorized(namespace, "GRPCRoute", &route.key.1, from)));
            allowed = by_route.flatten().next();
        }
        allowed.map_or(Verdict::Denied, |span| Verdict::Allowed(Some(span)))
    }
}

impl Server {
    fn read(spec: Cursor<'_>, key: Key) -> Reading<Self> {
        spec.only(&["podSelector", "port", "proxyProtocol", "accessPolicy"])?;
        let access = spec.get("accessPolicy").map_or(Ok("deny"), Cursor::text)?;
        let open = match access {
            "deny" => false,
            "all-unauthenticated" => true,
            _ => return Err(spec.not_understood("an accessPolicy other than deny and all-unauthenticated")),
        };
        let reads_grpc = match spec.text_of("proxyProtocol")? {
            "gRPC" => true,
            "opaque" => false,
            _ => return Err(spec.not_understood("a proxyProtocol other than gRPC and opaque")),
        };
        let pods = Selector::read(spec.required("podSelector")?)?;
        Ok(Self { key, pods, port: spec.required("port")?.port()?, open, reads_grpc })
    }
}

impl Route {
    /// One for each Server that it hangs on.
    fn read(spec: Cursor<'_>, key: &Key) -> Reading<Vec<Self>> {
        spec.only(&["parentRefs", "rules"])?;
        let mut methods = Vec::new();
        for rule in spec.required("rules")?.items()? {
            rule.only(&["matches"])?;
            // A rule without a match matches everything.
            let matches = rule.each("matches", method)?.filter(|matches| !matches.is_empty());
            methods.extend(matches.unwrap_or_else(|| vec![(None, None)]));
        }
        let mut routes = Vec::new();
        for parent in spec.required("parentRefs")?.items()? {
            parent.only(&["group", "kind", "name"])?;
            if parent.required("kind")?.text()? != "Server" {
                return Err(parent.not_understood("a route that hangs on something else than a Server"));
            }
            let server = parent.required("name")?.text()?.to_owned();
            routes.push(Self { key: key.clone(), server, methods: methods.clone() });
        }
        Ok(routes)
    }

    fn matches(&self, path: &str) -> bool {
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return false;
        };
        let fits = |wanted: &Option<String>, given: &str| wanted.as_ref().is_none_or(|wanted| wanted == given);
        self.methods.iter().any(|(wanted, of)| fits(wanted, service) && fits(of, method))
    }
}

fn method(at: Cursor<'_>) -> Reading<(Option<String>, Option<String>)> {
    at.only(&["method"])?;
    let Some(method) = at.get("method") else { return Ok((None, None)) };
    method.only(&["type", "service", "method"])?;
    if !matches!(method.text_of("type")?, "" | "Exact") {
        return Err(method.not_understood("a match that is not exact"));
    }
    let part = |key| method.get(key).map(|it| it.text().map(str::to_owned)).transpose();
    Ok((part("service")?, part("method")?))
}

fn accounts(spec: Cursor<'_>, sink: &mut Sink) -> Reading<Vec<Key>> {
    if let Some(names) = spec.get("identities") {
        let help = "use identityRefs: in a name, `*` stands for anybody and `*.` for a whole suffix";
        sink.trap(names, "callers are known by names that may be patterns", help);
    }
    spec.only(&["identityRefs"])?;
    let account = |at: Cursor<'_>| {
        at.only(&["kind", "name", "namespace"])?;
        if at.required("kind")?.text()? != "ServiceAccount" {
            return Err(at.not_understood("an identity that is no ServiceAccount"));
        }
        Ok((at.required("namespace")?.text()?.to_owned(), at.required("name")?.text()?.to_owned()))
    };
    Ok(spec.each("identityRefs", account)?.unwrap_or_default())
}

impl Authentication {
    fn proves(&self, party: &Party) -> bool {
        match self {
            Self::Networks(ranges) => ranges.iter().any(|range| range.contains(party.address)),
            Self::Accounts(accounts) => {
                let is_meshed = party.kind == Kind::Pod && !party.identity.is_empty();
                let has = |(namespace, name): &Key| *namespace == party.namespace && *name == party.service_account;
                is_meshed && accounts.iter().any(has)
            }
        }
    }
}

impl Authorization {
    fn read(spec: Cursor<'_>, at: Cursor<'_>) -> Reading<Self> {
        spec.only(&["targetRef", "requiredAuthenticationRefs"])?;
        let target = spec.required("targetRef")?;
        target.only(&["group", "kind", "name"])?;
        let kind = target.required("kind")?.text()?;
        if !matches!(kind, "Server" | "GRPCRoute") {
            return Err(target.not_understood("a policy for something else than a Server or a GRPCRoute"));
        }
        let required = |at: Cursor<'_>| {
            at.only(&["group", "kind", "name"])?;
            let kind = at.required("kind")?;
            let known = [MESH_TLS, NETWORK].into_iter().find(|known| kind.text() == Ok(known));
            let known = known.ok_or_else(|| kind.not_understood("this kind of authentication"))?;
            Ok((known, at.required("name")?.text()?.to_owned()))
        };
        Ok(Self {
            span: at.span(),
            namespace: at.namespace().to_owned(),
            target: (kind.to_owned(), target.required("name")?.text()?.to_owned()),
            required: spec.each("requiredAuthenticationRefs", required)?.unwrap_or_default(),
        })
    }
}
