//! The authorization policy of gRPC libraries (gRFC A43), one file a listener, for the server there and no other.
//!
//! Traps that this owns: `allow_rules` may not be empty, so a listener that nobody may call denies everything by name;
//! `*` in a principal matches any certificate, and an empty principal none at all, so principals are whole SPIFFE IDs.

use sekat_policy::intent::Audience;

use crate::File;
use crate::document::{Value, json, list, map};
use crate::plan::{Host, Listener, Plan, Speaks, health_paths};

pub(super) fn emit(plan: &Plan<'_>) -> Vec<File> {
    let mut files = Vec::new();
    for host in plan.hosts.iter().filter(|host| host.domain.is_some()) {
        files.extend(host.streams().map(|listener| File {
            name: format!("{}.{}.json", host.name, listener.port.name),
            text: json(&policy(host, listener)),
        }));
    }
    files
}

fn policy(host: &Host<'_>, listener: &Listener<'_>) -> Value {
    let name = format!("{}.{}", host.name, listener.port.name);
    let mut allowed: Vec<Value> = Vec::new();
    if listener.speaks == Speaks::Grpc {
        for admitted in &listener.admitted {
            let principals = list([admitted.caller.identity.as_str().into()]);
            allowed.push(map([
                ("name", admitted.caller.name.as_str().into()),
                ("source", map([("principals", principals)])),
                ("request", map([("paths", admitted.paths.iter().copied().collect())])),
            ]));
        }
    }
    match listener.port.audience {
        Audience::Callers => {}
        Audience::Public => allowed.push(map([("name", "everybody".into())])),
        Audience::Probes => {
            let request = map([("paths", health_paths().collect())]);
            allowed.push(map([("name", "probes".into()), ("request", request)]));
        }
    }
    if allowed.is_empty() {
        let nobody = || list([map([("name", "nobody".into())])]);
        return map([("name", name.into()), ("deny_rules", nobody()), ("allow_rules", nobody())]);
    }
    map([("name", name.into()), ("allow_rules", Value::List(allowed))])
}
