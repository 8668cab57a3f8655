//! `deploy/kubernetes`: its policies are those of the contracts, its workloads are those of the intent and are told
//! whom they may call, and Kubernetes knows every field.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use sekat_compile::{Compiled, File, Target, compile, folder, round_trip};
use sekat_policy::Intent;
use sekat_policy::intent::Audience;
use sekat_yaml::Node;

use crate::{mesh, run, tool};

const KUSTOMIZE: &str = "SEKAT_KUSTOMIZE";
const RENDERS: &str = "the deployment renders, and its policies are those of the contracts";

const OVERLAYS: [&str; 2] = ["overlays/local", "overlays/production"];

fn compiled(intent: &Intent, target: Target) -> Compiled {
    let (compiled, found) = compile(intent, target);
    assert!(found.is_empty(), "{found:?}");
    compiled
}

/// What kustomize makes of an overlay.
fn rendered(overlay: &str) -> Option<String> {
    let kustomize = tool(KUSTOMIZE, RENDERS)?;
    let (succeeded, text, said) = run(Command::new(kustomize).arg("build").arg(mesh::deployed(overlay)));
    assert!(succeeded, "{overlay}: {said}");
    Some(text)
}

fn objects(text: &str) -> Vec<Node> {
    sekat_yaml::documents("rendered", text).map(|node| node.expect("sound YAML")).collect()
}

fn text_at<'a>(node: &'a Node, path: &[&str]) -> &'a str {
    node.at(path).and_then(|node| node.text("rendered").ok()).unwrap_or_default()
}

/// The policies of a rendered overlay, as if they were compiled.
fn policies(text: &str) -> Compiled {
    let is_ours = |text: &&str| {
        let of_mesh = text.contains("namespace: sekat-commerce\n") || text.contains("namespace: sekat-showcase\n");
        text.contains("kind: NetworkPolicy\n") && of_mesh && !text.contains("namespace: sekat-telemetry\nspec")
    };
    let text = text.split("---\n").filter(is_ours).collect::<Vec<_>>().join("---\n");
    Compiled { target: Target::Kubernetes, files: vec![File { name: "rendered".to_owned(), text }], losses: Vec::new() }
}

#[test]
fn the_committed_policies_are_what_the_contracts_compile_to() {
    let help = "write it anew with `sekat compile`, and review the difference as you would review code";
    let intent = mesh::intent();
    let base = compiled(&intent, Target::Kubernetes);
    assert_eq!(round_trip(&intent, &base), []);
    let walls = compiled(&intent, Target::Cnp);
    assert_eq!(round_trip(&intent, &walls), []);
    let mut committed = vec![(base.clone(), "base/policies"), (walls, "components/walls")];
    for overlay in OVERLAYS {
        let mut added = compiled(&mesh::intent_at(overlay), Target::Kubernetes);
        added.subtract(&base);
        assert_eq!(added.files.iter().map(|it| &it.name).collect::<Vec<_>>(), ["sekat-commerce.external.yaml"]);
        committed.push((added, overlay));
    }
    for (compiled, folder) in committed {
        let stale = folder::stale(&compiled, &mesh::deployed(folder), help);
        assert!(stale.is_empty(), "{}", stale.iter().map(ToString::to_string).collect::<String>());
    }
}

#[test]
fn every_target_of_our_own_mesh_round_trips() {
    let intent = mesh::intent();
    for target in Target::ALL {
        let found = round_trip(&intent, &compiled(&intent, target));
        assert!(found.is_empty(), "{target}: {}", found.iter().map(|it| format!("{it}\n")).collect::<String>());
    }
}

const ONLY_THE_BANK: &str = "\
sekat-bank
      podSelector:
        matchLabels:
          app.kubernetes.io/name: bank
";

#[test]
fn each_place_opens_what_its_site_states_and_nothing_else() {
    for (overlay, narrow, wide) in
        [("overlays/production", "198.51.100.0/24", "0.0.0.0/0"), ("overlays/local", ONLY_THE_BANK, "sekat-bank\n")]
    {
        let Some(text) = rendered(overlay) else { return };
        let intent = mesh::intent_at(overlay);
        assert_eq!(round_trip(&intent, &policies(&text)), [], "{overlay}");
        let changed = text.replacen(narrow, wide, 1);
        assert_ne!(text, changed, "{overlay}");
        let found = round_trip(&intent, &policies(&changed));
        assert!(found.iter().any(|it| it.message.contains("`psp-connector` reach")), "{overlay}: {found:#?}");
    }
    let Some(text) = rendered("overlays/production") else { return };
    let walls = objects(&text).iter().filter(|it| text_at(it, &["kind"]) == "ClusterNetworkPolicy").count();
    assert!(walls > 10, "{walls} walls");
}

/// A policy that somebody adds beside ours.
const OPEN: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: open, namespace: sekat-commerce}
spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{}]}
";

/// The analysis knows nothing of the compiler: it reads what would be applied, pods and all.
#[test]
fn an_independent_reader_finds_only_what_is_meant_in_each_place() {
    for place in ["base", "overlays/local", "overlays/production"] {
        let Some(text) = rendered(place) else { return };
        let intent = mesh::intent_at(place);
        let check = |text: &str| {
            let options = sekat_reach::Options::default();
            let source = sekat_reach::Source { name: place.to_owned(), text: text.to_owned() };
            let (cluster, found) = sekat_reach::read(&[source], &options);
            assert_eq!(found, [], "{place}");
            sekat_reach::Analysis::new(cluster.expect("a cluster"), options).check(&intent).findings
        };
        assert_eq!(check(&text), [], "{place}");
        let opened = check(&format!("{text}---\n{OPEN}"));
        assert!(opened.iter().any(|it| it.code == sekat_reach::VIOLATED), "{place}: {opened:#?}");
    }
}

#[test]
fn every_workload_is_deployed_as_the_intent_says() {
    let Some(text) = rendered("base") else { return };
    let intent = mesh::intent_at("base");
    let objects = objects(&text);
    let of_kind = |kinds: &[&str]| -> BTreeMap<String, &Node> {
        let some = objects.iter().filter(|it| kinds.contains(&text_at(it, &["kind"])));
        some.map(|it| (text_at(it, &["metadata", "name"]).to_owned(), it)).collect()
    };
    let (accounts, services) = (of_kind(&["ServiceAccount"]), of_kind(&["Service"]));
    let pods = of_kind(&["Deployment", "StatefulSet"]);
    for workload in &intent.workloads {
        assert!(accounts.contains_key(&workload.name), "no account for {}", workload.name);
        assert_ne!(pods.contains_key(&workload.name), intent.elsewhere.contains(&workload.name), "{}", workload.name);
        let Some(owner) = pods.get(&workload.name) else { continue };
        let name = workload.name.as_str();
        assert_eq!(text_at(owner, &["metadata", "namespace"]), workload.place.namespace, "{name}");
        let pod = owner.at(&["spec", "template"]).expect("a template");
        assert_eq!(text_at(pod, &["metadata", "labels", "app.kubernetes.io/name"]), name);
        assert_eq!(text_at(pod, &["spec", "serviceAccountName"]), workload.place.service_account);
        let container = &pod.at(&["spec", "containers"]).expect("containers").list("rendered").expect("a list")[0];
        let ports = numbers(container.get("ports").expect("ports"), "containerPort");
        assert_eq!(ports, workload.ports.iter().map(|port| i64::from(port.number)).collect(), "{name}");
        let service = services[name].at(&["spec", "ports"]).expect("ports");
        let reached = workload.ports.iter().filter(|port| port.audience != Audience::Probes);
        assert_eq!(numbers(service, "port"), reached.map(|port| i64::from(port.number)).collect(), "{name}");
        assert_eq!(upstreams(container), wanted_upstreams(&intent, name), "{name}");
    }
    assert_eq!(pods.len() + 1, intent.workloads.len());
}

fn numbers(list: &Node, key: &str) -> BTreeSet<i64> {
    let items = list.list("rendered").expect("a list").iter();
    items.map(|item| item.get(key).expect(key).int("rendered").expect("a number")).collect()
}

/// Whom a container is told to call: variable and address.
fn upstreams(container: &Node) -> BTreeSet<(String, String)> {
    let variables = container.get("env").expect("env").list("rendered").expect("a list").iter();
    let all = variables.map(|it| (text_at(it, &["name"]).to_owned(), text_at(it, &["value"]).to_owned()));
    all.filter(|(name, _)| name.starts_with("SEKAT_UPSTREAM_")).collect()
}

/// Whom it may call, by the names that the mesh reads.
fn wanted_upstreams(intent: &Intent, caller: &str) -> BTreeSet<(String, String)> {
    let mine = intent.connections().into_iter().filter(|(who, ..)| *who == caller);
    mine.map(|(_, callee, port)| {
        let callee = intent.workload(callee).expect("a workload");
        let number = callee.port(port).expect("a port").number;
        let suffix = if port == "feed" { "_FEED" } else { "" };
        let variable = format!("SEKAT_UPSTREAM_{}{suffix}", callee.name.to_uppercase().replace('-', "_"));
        (variable, format!("{}.{}:{number}", callee.name, callee.place.namespace))
    })
    .collect()
}

#[test]
fn every_pod_fits_the_strictest_standard() {
    for overlay in OVERLAYS {
        let Some(text) = rendered(overlay) else { return };
        for object in objects(&text) {
            let name = text_at(&object, &["metadata", "name"]).to_owned();
            if text_at(&object, &["kind"]) == "Namespace" {
                let level = text_at(&object, &["metadata", "labels", "pod-security.kubernetes.io/enforce"]);
                assert_eq!(level, "restricted", "{name}");
            }
            let Some(pod) = object.at(&["spec", "template", "spec"]) else { continue };
            let yes = |node: &Node, path: &[&str]| node.at(path).and_then(|it| it.bool("rendered").ok());
            assert_eq!(yes(pod, &["securityContext", "runAsNonRoot"]), Some(true), "{name}");
            assert_eq!(text_at(pod, &["securityContext", "seccompProfile", "type"]), "RuntimeDefault", "{name}");
            assert_eq!(yes(pod, &["automountServiceAccountToken"]), Some(false), "{name}");
            for container in pod.get("containers").expect("containers").list("rendered").expect("a list") {
                let context = container.get("securityContext").expect("a security context");
                assert_eq!(yes(context, &["allowPrivilegeEscalation"]), Some(false), "{name}");
                assert_eq!(yes(context, &["readOnlyRootFilesystem"]), Some(true), "{name}");
                let drop = context.at(&["capabilities", "drop"]).expect("drop").list("rendered").expect("a list");
                assert_eq!(drop[0].text("rendered"), Ok("ALL"), "{name}");
            }
        }
    }
}

#[test]
fn kubernetes_knows_every_field() {
    let proves = "Kubernetes knows every field of the deployment";
    let Some(package) = tool("SEKAT_KUBERNETES_VALIDATE", proves) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let conforms = |text: &str| {
        let path = folder.path().join("rendered.yaml");
        std::fs::write(&path, text).expect("written");
        let mut command = Command::new("python3");
        command.args(["-m", "kubernetes_validate", "--strict", "--quiet"]).arg(&path);
        let (conforms, _, said) = run(command.env("PYTHONPATH", package.parent().expect("a folder")));
        (conforms, said)
    };
    for overlay in OVERLAYS {
        let Some(text) = rendered(overlay) else { return };
        // Kubernetes does not ship what is not in its own API.
        let own: Vec<&str> = text.split("---\n").filter(|it| !it.contains("kind: ClusterNetworkPolicy\n")).collect();
        let text = own.join("---\n");
        let (sound, said) = conforms(&text);
        assert!(sound, "{overlay}: {said}");
        let broken = text.replacen("policyTypes:", "policyType:", 1);
        assert_ne!(text, broken);
        assert!(!conforms(&broken).0, "a field that Kubernetes does not know was not found");
    }
}
