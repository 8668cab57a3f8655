//! A real Envoy reads each filter that is made for it, in a listener as it would stand there.

use std::fs;
use std::path::Path;
use std::process::Command;

use sekat_compile::{File, Target, compile};

use crate::{mesh, run, tool};

/// A bootstrap with one listener, whose filter chain has the filter where its kind belongs.
fn bootstrap(file: &File) -> String {
    let lines = file.text.lines().filter(|line| !line.starts_with('#') && *line != "---");
    let at = |indent: usize| -> String {
        let pad = " ".repeat(indent);
        lines
            .clone()
            .enumerate()
            .map(|(number, line)| format!("{pad}{} {line}\n", if number == 0 { "-" } else { " " }))
            .collect()
    };
    let head = "static_resources:\n  listeners:\n  - name: guarded\n    address: {socket_address: {address: 127.0.0.1, \
                port_value: 0}}\n    filter_chains:\n    - filters:\n";
    if file.text.contains("envoy.filters.network.rbac") {
        let proxy = "      - name: envoy.filters.network.tcp_proxy\n        typed_config:\n          \"@type\": \
                     type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n          stat_prefix: \
                     x\n          cluster: guarded\n";
        return format!("{head}{}{proxy}{CLUSTER}", at(6));
    }
    let manager = "      - name: envoy.filters.network.http_connection_manager\n        typed_config:\n          \"@type\": \
                   type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          \
                   stat_prefix: x\n          route_config: {virtual_hosts: [{name: x, domains: [\"*\"], routes: [{match: \
                   {prefix: /}, route: {cluster: guarded}}]}]}\n          http_filters:\n";
    let router = "          - name: envoy.filters.http.router\n            typed_config: {\"@type\": \
                  type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}\n";
    format!("{head}{manager}{}{router}{CLUSTER}", at(10))
}

const CLUSTER: &str =
    "  clusters:\n  - name: guarded\n    type: STATIC\n    load_assignment: {cluster_name: guarded}\n";

fn accepts(envoy: &Path, folder: &Path, text: &str) -> (bool, String) {
    let path = folder.join("bootstrap.yaml");
    fs::write(&path, text).expect("written");
    let (accepted, _, said) =
        run(Command::new(envoy).args(["--mode", "validate", "--log-level", "error", "-c"]).arg(&path));
    (accepted, said)
}

#[test]
fn envoy_takes_every_filter_and_refuses_one_that_is_none() {
    let Some(envoy) = tool("SEKAT_ENVOY", "Envoy takes the filters that are made for it") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut intent = mesh::intent();
    // Also the parts of filters that our own mesh does not need.
    intent.platform.probes = vec!["172.20.0.0/16".to_owned(), "2001:db8::/32".to_owned()];
    let (compiled, found) = compile(&intent, Target::Envoy);
    assert!(found.is_empty(), "{found:?}");
    assert!(compiled.files.len() > 20, "{} filters", compiled.files.len());
    for file in &compiled.files {
        let (accepted, said) = accepts(&envoy, folder.path(), &bootstrap(file));
        assert!(accepted, "{}:\n{said}\n{}", file.name, bootstrap(file));
    }
    let one = bootstrap(&compiled.files[0]);
    let broken = one.replace("string_match:", "text_match:");
    assert_ne!(one, broken);
    assert!(!accepts(&envoy, folder.path(), &broken).0, "Envoy took a filter with a field that it does not know");
}
