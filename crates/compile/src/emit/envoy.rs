//! Envoy's RBAC filters (v3), one file a listener: the HTTP filter where methods are called, the network filter where
//! bytes pass. Each file is one entry of a filter chain whose TLS context requires client certificates.
//!
//! Traps that this owns: the whole `:path` is compared, because `url_path` would drop what follows a question mark; the
//! port is compared too, so that a filter in front of several ports opens only its own.

use sekat_policy::intent::Audience;

use super::{file, one};
use crate::File;
use crate::cidr::Cidr;
use crate::document::{Document, Value, list, map};
use crate::plan::{Admitted, Host, Listener, Plan, Speaks, health_paths};

pub(super) fn emit(plan: &Plan<'_>) -> Vec<File> {
    let mut files = Vec::new();
    for host in &plan.hosts {
        for listener in host.streams() {
            files.push(guard(plan, host, listener));
        }
    }
    files
}

fn guard(plan: &Plan<'_>, host: &Host<'_>, listener: &Listener<'_>) -> File {
    let mut policies: Vec<(String, Value)> = Vec::new();
    for admitted in &listener.admitted {
        policies.push((admitted.caller.name.clone(), caller(listener, admitted)));
    }
    let port = listener.port.number;
    match listener.port.audience {
        Audience::Callers => {}
        Audience::Public => policies.push(("everybody.".to_owned(), entry(at(port, None), vec![any()]))),
        Audience::Probes => {
            let sources: Vec<Value> = plan.intent.platform.probes.iter().filter_map(|text| range(text)).collect();
            if !sources.is_empty() {
                let paths = (listener.speaks == Speaks::Grpc).then(|| health_paths().collect());
                policies.push(("probes.".to_owned(), entry(at(port, paths), sources)));
            }
        }
    }
    let (filter, settings) = match listener.speaks {
        Speaks::Grpc => ("envoy.filters.http.rbac", "envoy.extensions.filters.http.rbac.v3.RBAC"),
        Speaks::Bytes => ("envoy.filters.network.rbac", "envoy.extensions.filters.network.rbac.v3.RBAC"),
    };
    let mut config = vec![("@type".to_owned(), Value::Text(format!("type.googleapis.com/{settings}")))];
    if listener.speaks == Speaks::Bytes {
        config.push(("stat_prefix".to_owned(), format!("{}.{}", host.name, listener.port.name).into()));
    }
    config.push(("rules".to_owned(), map([("action", "ALLOW".into()), ("policies", Value::Map(policies))])));
    let root = map([("name", filter.into()), ("typed_config", Value::Map(config))]);
    let name = format!("{}.{}", host.name, listener.port.name);
    let about = format!(
        "The filter in front of {} at port {port}. Its TLS context must have require_client_certificate: true, unless\n\
         the port is public or for probes.",
        host.name
    );
    file(&name, &about, &[Document { comment: String::new(), root }])
}

fn caller(listener: &Listener<'_>, admitted: &Admitted<'_>) -> Value {
    let paths: Option<Vec<String>> =
        (listener.speaks == Speaks::Grpc).then(|| admitted.paths.iter().map(|path| (*path).to_owned()).collect());
    let name = map([("exact", admitted.caller.identity.as_str().into())]);
    let principal = map([("authenticated", map([("principal_name", name)]))]);
    entry(at(listener.port.number, paths), vec![principal])
}

fn entry(permission: Value, principals: Vec<Value>) -> Value {
    map([("permissions", one(permission)), ("principals", Value::List(principals))])
}

/// A port, and paths there; none for bytes.
fn at(port: u16, paths: Option<Vec<String>>) -> Value {
    let port = map([("destination_port", port.into())]);
    let Some(paths) = paths else { return port };
    let exact = |name: &str, value: String| {
        let text = map([("exact", value.into())]);
        map([("header", map([("name", name.into()), ("string_match", text)]))])
    };
    let paths: Value = paths.into_iter().map(|path| exact(":path", path)).collect();
    let any_path = map([("or_rules", map([("rules", paths)]))]);
    let all = list([port, exact(":method", "POST".to_owned()), any_path]);
    map([("and_rules", map([("rules", all)]))])
}

fn any() -> Value {
    map([("any", true.into())])
}

fn range(text: &str) -> Option<Value> {
    let cidr = Cidr::parse(text)?;
    let address = cidr.first().to_string();
    let range = map([("address_prefix", address.into()), ("prefix_len", u16::from(cidr.prefix()).into())]);
    Some(map([("direct_remote_ip", range)]))
}
