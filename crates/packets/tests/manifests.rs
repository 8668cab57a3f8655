//! Reading manifests: what the API server would refuse or drop is found with its line, and nothing makes it panic.

use std::fs;
use std::path::PathBuf;

use sekat_packets::{DUPLICATE, INVALID_POLICY, UNKNOWN_NAMESPACE, UNREADABLE, UNSUPPORTED_POLICY, read, read_text};
use sekat_policy::Severity;
use sekat_yaml::{MALFORMED, UNEXPECTED};

const HEAD: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: a}
spec:
";

/// The spec from line 5 on, and what is found; nothing for what is fine.
const SPECS: &[(&str, Option<(&str, u32)>)] = &[
    ("  podSelector: {}", None),
    ("  podSelecter: {}", Some((INVALID_POLICY, 5))),
    ("  podSelector: {matchLabel: {a: b}}", Some((INVALID_POLICY, 5))),
    ("  podSelector: {matchLabels: {a: 1}}", Some((UNEXPECTED, 5))),
    ("  podSelector: []", Some((UNEXPECTED, 5))),
    ("  policyTypes: [Ingress, Egress]", None),
    ("  policyTypes: [ingress]", Some((INVALID_POLICY, 5))),
    ("  ingress:\n  - from: [{namespaceSelector: {}, podSelector: {}}]", None),
    ("  ingress:\n  - form: []", Some((INVALID_POLICY, 6))),
    ("  ingress:\n  - to: []", Some((INVALID_POLICY, 6))),
    ("  ingress:\n  - from: [{}]", Some((INVALID_POLICY, 6))),
    ("  ingress:\n  - from: [{podSelector: }]", Some((INVALID_POLICY, 6))),
    ("  ingress:\n  - from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]", Some((INVALID_POLICY, 6))),
    ("  ingress:\n  - from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]", None),
    ("  ingress:\n  - from: [{ipBlock: {cidr: 10.0.0.0}}]", Some((INVALID_POLICY, 6))),
    ("  ingress:\n  - from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]", Some((INVALID_POLICY, 6))),
    ("  ingress:\n  - from: [{ipBlock: {cidr: 10.0.0.0/8, except: ['::/0']}}]", Some((INVALID_POLICY, 6))),
    ("  ingress:\n  - ports: [{port: 80, endPort: 90}]", None),
    ("  ingress:\n  - ports: [{port: 80, endPort: 79}]", Some((INVALID_POLICY, 6))),
    ("  ingress:\n  - ports: [{endPort: 90}]", Some((INVALID_POLICY, 6))),
    ("  ingress:\n  - ports: [{port: web, endPort: 90}]", Some((INVALID_POLICY, 6))),
    ("  ingress:\n  - ports: [{port: '80'}]", Some((UNEXPECTED, 6))),
    ("  ingress:\n  - ports: [{port: 65536}]", Some((UNEXPECTED, 6))),
    ("  ingress:\n  - ports: [{port: 0}]", Some((UNEXPECTED, 6))),
    ("  ingress:\n  - ports: [{port: 80, protocol: tcp}]", Some((INVALID_POLICY, 6))),
    ("  podSelector: {matchExpressions: [{key: a, operator: Exists}]}", None),
    ("  podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}", Some((INVALID_POLICY, 5))),
    ("  podSelector: {matchExpressions: [{key: a, operator: In}]}", Some((INVALID_POLICY, 5))),
    ("  podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}", Some((INVALID_POLICY, 5))),
];

#[test]
fn what_the_api_server_refuses_or_drops_is_found_at_its_line() {
    for (spec, wanted) in SPECS {
        let (_, found) = read_text("p.yaml", &format!("{HEAD}{spec}\n"));
        let errors: Vec<_> = found.iter().filter(|it| it.severity == Severity::Error).collect();
        let seen = errors.first().map(|it| (it.code, it.span.line));
        assert_eq!(seen, *wanted, "{spec}: {errors:?}");
        assert!(errors.len() <= 1, "one mistake is one finding: {errors:?}");
    }
}

#[test]
fn every_mistake_is_found_in_one_go() {
    let spec = "  podSelecter: {}\n  ingress:\n  - from: [{}]\n    ports: [{port: 0}, {protocol: ICMP}]\n";
    let (_, found) = read_text("p.yaml", &format!("{HEAD}{spec}---\nkind: Pod\n"));
    let lines: Vec<u32> = found.iter().filter(|it| it.severity == Severity::Error).map(|it| it.span.line).collect();
    assert_eq!(lines, [5, 7, 8, 8, 10]);
}

#[test]
fn objects_that_decide_and_are_not_understood_are_errors_and_others_are_not() {
    let codes = |text: &str| read_text("x.yaml", text).1.into_iter().map(|it| it.code).collect::<Vec<_>>();
    let metadata = "metadata: {name: n, namespace: a}\n";
    assert_eq!(codes(&format!("apiVersion: v1\nkind: Service\n{metadata}")), [] as [&str; 0]);
    assert_eq!(
        codes(&format!("apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n{metadata}")),
        [UNSUPPORTED_POLICY]
    );
    assert_eq!(
        codes(&format!("apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n{metadata}")),
        [UNSUPPORTED_POLICY]
    );
    assert_eq!(codes("kind: [\n"), [MALFORMED]);
    assert_eq!(codes("- kind: Pod\n"), [UNEXPECTED]);
    let pod = format!("apiVersion: v1\nkind: Pod\n{metadata}spec: {{containers: []}}\n");
    assert_eq!(codes(&pod), [UNKNOWN_NAMESPACE]);
    assert_eq!(codes(&format!("{pod}---\n{pod}")), [DUPLICATE, UNKNOWN_NAMESPACE]);
}

#[test]
fn every_workload_kind_is_a_pod_and_sidecars_have_ports() {
    let spec = "{initContainers: [{name: i, ports: [{containerPort: 1}]}, {name: s, restartPolicy: Always, ports: \
                [{containerPort: 2}]}], containers: [{name: c, ports: [{containerPort: 3, protocol: SCTP}]}]}";
    let template = format!("{{metadata: {{labels: {{app: w}}}}, spec: {spec}}}");
    let with_template = |version: &str, kind: &str| {
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: w}}\nspec: {{template: {template}}}\n")
    };
    let texts = [
        ("Pod", format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: w, labels: {{app: w}}}}\nspec: {spec}\n")),
        ("Deployment", with_template("apps/v1", "Deployment")),
        ("ReplicaSet", with_template("apps/v1", "ReplicaSet")),
        ("StatefulSet", with_template("apps/v1", "StatefulSet")),
        ("DaemonSet", with_template("apps/v1", "DaemonSet")),
        ("ReplicationController", with_template("v1", "ReplicationController")),
        ("Job", with_template("batch/v1", "Job")),
        (
            "CronJob",
            format!(
                "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: w}}\nspec: {{jobTemplate: {{spec: {{template: \
                 {template}}}}}}}\n"
            ),
        ),
    ];
    for (kind, text) in texts {
        let (cluster, found) = read_text("w.yaml", &text);
        assert!(found.iter().all(|it| it.code == UNKNOWN_NAMESPACE), "{found:?}");
        let [pod] = cluster.pods.as_slice() else { panic!("{kind} is one pod") };
        assert_eq!(pod.to_string(), format!("default/w[{kind}]"));
        assert_eq!(pod.labels.get("app").map(String::as_str), Some("w"));
        assert_eq!(pod.ports.iter().map(|port| port.number).collect::<Vec<_>>(), [2, 3]);
    }
}

#[test]
fn folders_are_read_and_what_cannot_be_read_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let namespace = |name: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    fs::write(inner.join("a.yaml"), namespace("a")).unwrap();
    fs::write(inner.join("b.json"), r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}}"#).unwrap();
    fs::write(inner.join("notes.txt"), "no manifest").unwrap();
    fs::write(inner.join("c.yml"), [0xFF, 0xFE]).unwrap();
    std::os::unix::fs::symlink(folder.path(), inner.join("around")).unwrap();
    let (cluster, found) = read(&[folder.path().to_owned(), PathBuf::from("no/such/file")]);
    assert_eq!(cluster.namespaces.keys().collect::<Vec<_>>(), ["a", "b"]);
    let unreadable: Vec<_> = found.iter().map(|it| (it.code, it.span.file.rsplit('/').next().unwrap())).collect();
    assert_eq!(unreadable.len(), 2);
    assert!(
        unreadable.contains(&(UNREADABLE, "c.yml")) && unreadable.contains(&(UNREADABLE, "file")),
        "{unreadable:?}"
    );
}

/// Cut off anywhere and with any one byte changed, a manifest is read or refused.
#[test]
fn no_damage_makes_it_panic() {
    let text =
        format!("{}---\n{HEAD}  ingress:\n  - ports: [{{port: 80, endPort: 90}}]\n", include_str!("packets/pods.yaml"));
    for at in 0..text.len() {
        let mut damaged = text.clone().into_bytes();
        damaged[at] = b"{}[]:-'\"&*!%\n 0"[at % 15];
        drop(read_text("x.yaml", &String::from_utf8_lossy(&damaged)));
        drop(read_text("x.yaml", &text[..at]));
    }
}
