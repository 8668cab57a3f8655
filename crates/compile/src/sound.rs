//! What an intent must fulfil before policies can be made of it: otherwise an object would say more than is meant, for
//! instance because a selector covers the pods of somebody else, or a name is a pattern to some target.

use std::collections::{BTreeMap, BTreeSet};

use sekat_policy::intent::{Place, Protocol};
use sekat_policy::{Diagnostic, Intent, Span};

use crate::cidr::Cidr;

/// A name that targets cannot take.
pub const BAD_NAME: &str = "SK0400";
/// A selector that covers pods of somebody else.
pub const SHARED_SELECTOR: &str = "SK0401";
/// Two workloads that a target cannot tell apart.
pub const SHARED_IDENTITY: &str = "SK0402";
/// A name that nothing has.
pub const DANGLING: &str = "SK0403";
/// A character that some target reads as a pattern.
pub const PATTERN: &str = "SK0404";
/// An address range that cannot be used.
pub const BAD_RANGE: &str = "SK0405";
/// A method on a port that cannot carry gRPC.
pub const NOT_TCP: &str = "SK0406";

/// All that stands in the way of compiling. Nothing is compiled while there is something.
pub(crate) fn findings(intent: &Intent) -> Vec<Diagnostic> {
    let mut found = names(intent);
    found.extend(selectors(intent));
    found.extend(identities(intent));
    found.extend(references(intent));
    found.extend(paths(intent));
    found.extend(ranges(intent));
    found
}

/// Names become names of objects: a label of DNS each, so that joined by dots they stay apart.
fn names(intent: &Intent) -> Vec<Diagnostic> {
    let mut named: Vec<(&str, &str, &Span)> = Vec::new();
    for workload in &intent.workloads {
        named.push(("a workload", &workload.name, &workload.span));
        named.push(("a namespace", &workload.place.namespace, &workload.span));
        named.push(("a service account", &workload.place.service_account, &workload.span));
        named.extend(workload.ports.iter().map(|port| ("a port", port.name.as_str(), &workload.span)));
    }
    for store in &intent.stores {
        named.push(("a store", &store.name, &store.span));
        named.push(("a namespace", &store.place.namespace, &store.span));
        named.extend(store.ports.iter().map(|port| ("a port", port.name.as_str(), &store.span)));
    }
    named.extend(intent.externals.iter().map(|external| ("an external", external.name.as_str(), &external.span)));
    named.extend(intent.domains.iter().map(|domain| ("a domain", domain.name.as_str(), &domain.span)));
    let bad = named.into_iter().filter(|(_, name, _)| !is_label(name));
    bad.map(|(what, name, span)| {
        let message = format!("`{name}` cannot name {what} in a cluster");
        Diagnostic::error(
            BAD_NAME,
            span.clone(),
            message,
            "use 1 to 63 of a-z, 0-9 and -, not beginning or ending with -",
        )
    })
    .collect()
}

fn is_label(name: &str) -> bool {
    let is_allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(is_allowed) && !name.starts_with('-') && !name.ends_with('-')
}

/// A pod that has all labels of a selector is selected, whatever other labels it has.
fn selectors(intent: &Intent) -> Vec<Diagnostic> {
    let workloads = intent.workloads.iter().map(|it| (it.name.as_str(), &it.place, &it.span));
    let stores = intent.stores.iter().map(|it| (it.name.as_str(), &it.place, &it.span));
    let owners: Vec<(&str, &Place, &Span)> = workloads.chain(stores).collect();
    let mut by_namespace: BTreeMap<&str, Vec<(&str, &Place, &Span)>> = BTreeMap::new();
    for owner in &owners {
        by_namespace.entry(&owner.1.namespace).or_default().push(*owner);
    }
    let mut found = Vec::new();
    for here in by_namespace.values() {
        for (name, place, span) in here {
            if place.labels.is_empty() {
                let message = format!("`{name}` has no labels, so its pods cannot be told from others");
                found.push(Diagnostic::error(
                    SHARED_SELECTOR,
                    (*span).clone(),
                    message,
                    "state the labels of its pods",
                ));
                continue;
            }
            let covers = |other: &Place| place.labels.iter().all(|(key, value)| other.labels.get(key) == Some(value));
            let covered = here.iter().filter(|(other, their, _)| other != name && covers(their));
            found.extend(covered.map(|(other, ..)| {
                let message = format!("the labels of `{name}` also select the pods of `{other}`");
                let help = "give each a label that the other does not have, for instance app.kubernetes.io/name";
                Diagnostic::error(SHARED_SELECTOR, (*span).clone(), message, help)
            }));
        }
    }
    let mut names = BTreeSet::new();
    found.extend(owners.iter().filter(|(name, ..)| !names.insert(*name)).map(|(name, _, span)| {
        let help = "rename one: objects are named after their owners";
        Diagnostic::error(SHARED_IDENTITY, (*span).clone(), format!("`{name}` is stated twice"), help)
    }));
    found
}

/// The service account of the proxies of Istio's ambient mode, through which everything passes.
const WAYPOINT: &str = "waypoint";

/// Meshes know a workload by namespace and service account, gRPC by its SPIFFE ID.
fn identities(intent: &Intent) -> Vec<Diagnostic> {
    let mut accounts = BTreeMap::new();
    let mut ids = BTreeMap::new();
    let mut found = Vec::new();
    for workload in &intent.workloads {
        let account = (&workload.place.namespace, &workload.place.service_account);
        let help = "give each workload its own: a mesh lets in whoever has the identity";
        if let Some(other) = accounts.insert(account, &workload.name) {
            let (namespace, account) = account;
            let message = format!("`{other}` and `{}` share the service account {namespace}/{account}", workload.name);
            found.push(Diagnostic::error(SHARED_IDENTITY, workload.span.clone(), message, help));
        }
        if workload.place.service_account == WAYPOINT {
            let message = format!("`{}` has the service account of Istio's waypoints", workload.name);
            found.push(Diagnostic::error(SHARED_IDENTITY, workload.span.clone(), message, help));
        }
        if let Some(other) = ids.insert(&workload.identity, &workload.name) {
            let message = format!("`{other}` and `{}` share the SPIFFE ID {}", workload.name, workload.identity);
            found.push(Diagnostic::error(SHARED_IDENTITY, workload.span.clone(), message, help));
        }
    }
    found
}

fn references(intent: &Intent) -> Vec<Diagnostic> {
    let mut named: Vec<(String, bool, &Span)> = Vec::new();
    for workload in &intent.workloads {
        named.push((
            format!("domain `{}`", workload.domain),
            intent.domain(&workload.domain).is_some(),
            &workload.span,
        ));
    }
    for method in &intent.methods {
        let port = intent.workload(&method.workload).and_then(|workload| workload.port(&method.port));
        named.push((format!("port `{}` of `{}`", method.port, method.workload), port.is_some(), &method.span));
    }
    for edge in &intent.edges {
        named.push((format!("workload `{}`", edge.caller), intent.workload(&edge.caller).is_some(), &edge.span));
        named.push((format!("method {}", edge.method), intent.method(&edge.method).is_some(), &edge.span));
    }
    let stores = intent.stores.iter().map(|store| (&store.clients, &store.span));
    for (clients, span) in stores.chain(intent.externals.iter().map(|external| (&external.clients, &external.span))) {
        named.extend(clients.iter().map(|name| (format!("workload `{name}`"), intent.workload(name).is_some(), span)));
    }
    let dangling = named.into_iter().filter(|(_, exists, _)| !exists);
    dangling
        .map(|(what, _, span)| {
            let help = "correct the name, or state what it names";
            Diagnostic::error(DANGLING, span.clone(), format!("there is no {what}"), help)
        })
        .collect()
}

/// `*` is a wildcard to gRPC, Istio and Linkerd. A path that is not `/service/method` is none of gRPC's.
fn paths(intent: &Intent) -> Vec<Diagnostic> {
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
    };
    let is_path = |path: &str| {
        let parts = path.strip_prefix('/').and_then(|rest| rest.split_once('/'));
        parts.is_some_and(|(service, method)| is_word(service) && is_word(method))
    };
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for method in &intent.methods {
        if !is_path(&method.path) {
            let message = format!("`{}` is no path of a gRPC method", method.path);
            found.push(Diagnostic::error(
                PATTERN,
                method.span.clone(),
                message,
                "write /package.Service/Method in full",
            ));
        }
        if !seen.insert(&method.path) {
            let message = format!("the method {} is stated twice", method.path);
            let help = "state once who serves it: a caller cannot tell two by the path";
            found.push(Diagnostic::error(SHARED_IDENTITY, method.span.clone(), message, help));
        }
        let port = intent.workload(&method.workload).and_then(|workload| workload.port(&method.port));
        if port.is_some_and(|port| port.protocol != Protocol::Tcp) {
            let message = format!("{} is served on a port that is not TCP", method.path);
            found.push(Diagnostic::error(
                NOT_TCP,
                method.span.clone(),
                message,
                "gRPC runs over TCP: correct the port",
            ));
        }
    }
    let is_id = |id: &str| {
        let rest = id.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/'));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/');
        rest.is_some_and(|(domain, path)| !domain.is_empty() && !path.is_empty() && id.bytes().skip(9).all(allowed))
    };
    found.extend(intent.workloads.iter().filter(|workload| !is_id(&workload.identity)).map(|workload| {
        let message = format!("`{}` is no SPIFFE ID of a workload", workload.identity);
        Diagnostic::error(PATTERN, workload.span.clone(), message, "write spiffe://trust-domain/path without wildcards")
    }));
    found
}

fn ranges(intent: &Intent) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let bad = |text: &str, span: &Span| {
        let help = "write it as address/prefix, with no bits set behind the prefix";
        Diagnostic::error(BAD_RANGE, span.clone(), format!("`{text}` is no range of addresses"), help)
    };
    for external in &intent.externals {
        let ranges: Vec<Cidr> = external.cidrs.iter().filter_map(|text| Cidr::parse(text)).collect();
        let all = external.cidrs.iter().chain(&external.except);
        found.extend(all.filter(|text| Cidr::parse(text).is_none()).map(|text| bad(text, &external.span)));
        let outside = |text: &&String| Cidr::parse(text).is_some_and(|it| !ranges.iter().any(|range| range.covers(it)));
        found.extend(external.except.iter().filter(outside).map(|text| {
            let message = format!("the exception {text} lies in none of the ranges of `{}`", external.name);
            Diagnostic::error(BAD_RANGE, external.span.clone(), message, "remove it, or correct the ranges")
        }));
    }
    let probes = intent.platform.probes.iter().filter(|text| Cidr::parse(text).is_none());
    found.extend(probes.map(|text| bad(text, &Span::default())));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{random, shop};
    use crate::{Target, compile};

    /// Something that makes the shop unsound, the code of the finding, and what its message says.
    type Fault = (fn(&mut Intent), &'static str, &'static str);

    const FAULTS: [Fault; 21] = [
        (|it| it.workloads[0].name = "Payment".to_owned(), BAD_NAME, "`Payment` cannot name a workload"),
        (|it| it.workloads[0].place.namespace = "a.b".to_owned(), BAD_NAME, "`a.b` cannot name a namespace"),
        (|it| it.workloads[0].ports[0].name = String::new(), BAD_NAME, "`` cannot name a port"),
        (|it| it.externals[0].name = "x".repeat(64), BAD_NAME, "cannot name an external"),
        (|it| it.workloads[0].place.labels.clear(), SHARED_SELECTOR, "`payment` has no labels"),
        (
            |it| it.stores[0].place.labels.extend([("app".to_owned(), "payment".to_owned())]),
            SHARED_SELECTOR,
            "the labels of `payment` also select the pods of `payment-db`",
        ),
        (|it| it.stores[0].name = "order".to_owned(), SHARED_IDENTITY, "`order` is stated twice"),
        (
            |it| it.workloads[0].place.service_account = "order".to_owned(),
            SHARED_IDENTITY,
            "`payment` and `order` share the service account commerce/order",
        ),
        (
            |it| it.workloads[1].identity = it.workloads[0].identity.clone(),
            SHARED_IDENTITY,
            "`payment` and `order` share the SPIFFE ID",
        ),
        (
            |it| it.workloads[0].place.service_account = "waypoint".to_owned(),
            SHARED_IDENTITY,
            "`payment` has the service account of Istio's waypoints",
        ),
        (|it| it.methods[1].path = it.methods[0].path.clone(), SHARED_IDENTITY, "Authorize is stated twice"),
        (|it| it.workloads[0].domain = "bank".to_owned(), DANGLING, "there is no domain `bank`"),
        (|it| it.methods[0].port = "web".to_owned(), DANGLING, "there is no port `web` of `payment`"),
        (|it| it.edges[0].caller = "nobody".to_owned(), DANGLING, "there is no workload `nobody`"),
        (|it| it.edges[0].method = "/a.B/C".to_owned(), DANGLING, "there is no method /a.B/C"),
        (|it| it.stores[0].clients.extend(["nobody".to_owned()]), DANGLING, "there is no workload `nobody`"),
        (
            |it| it.methods[0].path = "/shop.payment.v1.PaymentService/*".to_owned(),
            PATTERN,
            "is no path of a gRPC method",
        ),
        (|it| it.workloads[0].identity = "spiffe://*/payment".to_owned(), PATTERN, "is no SPIFFE ID"),
        (|it| it.externals[0].cidrs[0] = "198.51.100.7/24".to_owned(), BAD_RANGE, "`198.51.100.7/24` is no range"),
        (|it| it.externals[0].except[0] = "192.0.2.0/24".to_owned(), BAD_RANGE, "lies in none of the ranges of `bank`"),
        (
            |it| it.workloads[0].ports[0].protocol = Protocol::Udp,
            NOT_TCP,
            "Authorize is served on a port that is not TCP",
        ),
    ];

    #[test]
    fn what_cannot_be_compiled_is_named_and_makes_no_files() {
        assert_eq!(findings(&shop()), []);
        for (number, (plant, code, message)) in FAULTS.into_iter().enumerate() {
            let mut intent = shop();
            plant(&mut intent);
            for target in Target::ALL {
                let (compiled, found) = compile(&intent, target);
                let is_named = found.iter().any(|it| it.code == code && it.message.contains(message));
                assert!(is_named && compiled.files.is_empty(), "fault {number}: {found:#?}");
            }
        }
    }

    #[test]
    fn random_intents_are_sound_so_that_a_round_trip_says_something_of_each() {
        for seed in 0..1_000 {
            assert_eq!(findings(&random(seed)), [], "seed {seed}");
        }
    }
}
