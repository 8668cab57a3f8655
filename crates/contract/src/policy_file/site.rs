//! The site file: what differs from place to place while the mesh stays the same. It says which hosts outside its
//! workloads reach there, which addresses the cluster gives to its own, and who runs elsewhere.

use std::collections::BTreeSet;
use std::path::Path;

use sekat_policy::{Diagnostic, Intent, Span};
use sekat_yaml::Node;

use super::reader::Reader;
use super::{Kind, NO_POLICY, document, network, values};
use crate::intent_lints::{UNKNOWN, names};
use crate::suggest::did_you_mean;

pub(super) const KEYS: [&str; 5] = ["apiVersion", "kind", "ranges", "externals", "elsewhere"];
pub(super) const RANGES: [&str; 3] = ["pods", "services", "nodes"];

/// Reads the site file at `path` into an intent, which has everything but what differs from place to place. Findings
/// are those of the file by itself; whether the whole keeps its rules is for [`crate::intent_lints`] to say.
pub(crate) fn extend(intent: &mut Intent, path: &Path) -> Vec<Diagnostic> {
    let shown = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => extend_by_text(intent, &shown, &text),
        Err(error) => {
            let span = Span { file: shown, ..Span::default() };
            let message = format!("the site file cannot be read: {error}");
            vec![Diagnostic::error(NO_POLICY, span, message, "name a file that exists and can be read")]
        }
    }
}

fn extend_by_text(intent: &mut Intent, file: &str, text: &str) -> Vec<Diagnostic> {
    let mut reader = Reader { file, findings: Vec::new() };
    if let Some(root) = document(&mut reader, text, Kind::Site) {
        reader.is_section(&root, &KEYS);
        let own = ranges(&mut reader, root.get("ranges"), intent);
        let externals = network::externals(&mut reader, root.get("externals"), intent, &own);
        intent.externals.extend(externals);
        intent.elsewhere.extend(elsewhere(&mut reader, root.get("elsewhere"), intent));
    }
    reader.findings
}

/// The ranges of the cluster's own addresses, and what each is for.
fn ranges(reader: &mut Reader<'_>, node: Option<&Node>, intent: &mut Intent) -> Vec<(String, &'static str)> {
    let Some(node) = node.filter(|node| reader.is_section(node, &RANGES)) else { return Vec::new() };
    let mut read = |key| reader.texts(node.get(key), values::cidr).into_iter().map(|(text, _)| text);
    intent.platform.pod_ranges.extend(read("pods"));
    let pods = intent.platform.pod_ranges.iter().cloned().map(|range| (range, "from which pods have their addresses"));
    let mut own: Vec<_> = pods.collect();
    own.extend(read("services").map(|range| (range, "from which Services have their addresses")));
    own.extend(read("nodes").map(|range| (range, "from which nodes have their addresses")));
    own
}

/// Workloads of the mesh that are not among the manifests of this place.
fn elsewhere(reader: &mut Reader<'_>, node: Option<&Node>, intent: &Intent) -> BTreeSet<String> {
    let mut elsewhere = BTreeSet::new();
    for (name, span) in reader.texts(node, values::name) {
        if intent.workload(&name).is_none() {
            let message = format!("there is no service `{name}`{}", did_you_mean(&name, names(&intent.workloads)));
            reader.report(UNKNOWN, span, message, "name a service of the mesh");
        } else {
            elsewhere.insert(name);
        }
    }
    elsewhere
}

#[cfg(test)]
mod tests {
    use sekat_policy::intent::Classes;

    use super::*;
    use crate::intent_lints;
    use crate::intent_lints::fixture::planted;

    const SITE: &str = "\
apiVersion: sekat.dev/v1
kind: Site
ranges: {pods: [10.244.0.0/16], services: [10.96.0.0/12], nodes: [192.0.2.0/24]}
externals:
  - {name: couriers, cidrs: [198.51.100.0/24], except: [198.51.100.128/25], ports: [443], clients: [bank]}
  - name: sandbox
    pods: [{namespace: partners, selector: {app: sandbox}}]
    clients: [bank]
    classes: []
elsewhere: [catalog]
";

    /// The lawful policy at the lawful site with some edits, each of a text that occurs once.
    #[track_caller]
    fn site(edits: &[(&str, &str)]) -> (Intent, Vec<Diagnostic>, String) {
        let mut text = SITE.to_owned();
        for (from, to) in edits {
            assert_eq!(text.matches(from).count(), 1, "{from:?}");
            text = text.replace(from, to);
        }
        let mut intent = planted(&[]).read().0;
        let mut findings = extend_by_text(&mut intent, "site.yaml", &text);
        findings.extend(intent_lints::run(&intent));
        (intent, findings, text)
    }

    #[track_caller]
    fn finds(edit: (&str, &str), code: &str, at: &str, part: &str) {
        let (_, findings, text) = site(&[edit]);
        let [finding] = findings.as_slice() else { panic!("one finding, not {findings:#?}") };
        let line = text.lines().nth((finding.span.line as usize).wrapping_sub(1)).unwrap_or_default();
        assert_eq!(finding.span.file, "site.yaml");
        assert!(
            finding.code == code && line.contains(at) && finding.message.contains(part) && !finding.help.is_empty(),
            "{finding}\nat {line:?}"
        );
    }

    #[test]
    fn a_site_adds_to_the_mesh_what_is_only_there() {
        let before = planted(&[]).read().0;
        let (intent, findings, _) = site(&[]);
        assert_eq!(findings, []);
        let [_, couriers, sandbox] = intent.externals.as_slice() else { panic!("{:#?}", intent.externals) };
        assert_eq!(couriers.except, ["198.51.100.128/25"]);
        assert_eq!(couriers.classes, Classes::from(["payment.card".to_owned()]), "what the bank is asked to do");
        assert!(sandbox.cidrs.is_empty() && sandbox.classes.is_empty());
        let [pods] = sandbox.pods.as_slice() else { panic!("{:#?}", sandbox.pods) };
        assert_eq!(
            (pods.namespace.as_str(), pods.labels.get("app").map(String::as_str)),
            ("partners", Some("sandbox"))
        );
        assert_eq!(intent.platform.pod_ranges, ["10.244.0.0/16"]);
        assert_eq!(intent.elsewhere, BTreeSet::from(["catalog".to_owned()]));
        let rest = Intent { externals: before.externals.clone(), elsewhere: BTreeSet::new(), ..intent };
        let platform = sekat_policy::intent::Platform { pod_ranges: Vec::new(), ..rest.platform.clone() };
        assert_eq!(Intent { platform, ..rest }, before, "and nothing else");
    }

    #[test]
    fn what_is_wrong_with_a_site_is_found_where_it_stands() {
        finds(("kind: Site", "kind: Policy"), "SK0300", "kind: Policy", "`Policy`");
        finds(("elsewhere:", "elswhere:"), "SK0301", "elswhere", "did you mean `elsewhere`?");
        finds(("services: [", "service: ["), "SK0301", "service", "did you mean `services`?");
        finds(("elsewhere: [catalog]", "elsewhere: [catalogue]"), "SK0311", "elsewhere", "did you mean `catalog`?");
        finds(("[10.244.0.0/16]", "[10.244.0.1/16]"), "SK0302", "ranges", "`10.244.0.1/16`");
        finds(("selector: {app: sandbox}", "selector: {}"), "SK0302", "partners", "an empty selector");
        finds(("    pods: [{namespace: partners, selector: {app: sandbox}}]\n", ""), "SK0201", "sandbox", "`cidrs`");
        finds(("ports: [443], clients: [bank]", "ports: [443], clients: [banc]"), "SK0311", "couriers", "`bank`?");
        finds(("name: couriers", "name: banks"), "SK0310", "banks", "external `banks`");
        assert!(site(&[]).1.is_empty());
    }

    #[test]
    fn a_client_is_one_that_may_leave_and_may_hold_what_it_sends() {
        let found: Vec<_> = site(&[("    clients: [bank]", "    clients: [showcase]")]).1;
        assert_eq!(found.iter().map(|it| it.code).collect::<Vec<_>>(), ["SK0320"], "{found:#?}");
        let edit = (
            "classes: []",
            "classes: [user]\n  - {name: ads, cidrs: [203.0.113.0/28], clients: [showcase], classes: [user]}",
        );
        assert!(site(&[edit]).1.iter().any(|it| it.code == "SK0319" && it.span.line == 10));
    }

    #[test]
    fn what_is_outside_is_not_the_cluster_and_not_its_machines() {
        let couriers = "cidrs: [198.51.100.0/24], except: [198.51.100.128/25]";
        for (cidrs, part) in [
            ("cidrs: [10.244.7.0/24]", "`10.244.7.0/24` reaches 10.244.0.0/16, from which pods"),
            ("cidrs: [10.96.0.1/32]", "`10.96.0.1/32` reaches 10.96.0.0/12, from which Services"),
            ("cidrs: [192.0.0.0/16]", "`192.0.0.0/16` reaches 192.0.2.0/24, from which nodes"),
            ("cidrs: [192.0.0.0/16], except: [192.0.2.0/25]", "from which nodes"),
            ("cidrs: [169.254.169.254/32]", "`169.254.169.254/32` reaches 169.254.0.0/16"),
            ("cidrs: [\"fd00::/8\"], except: [\"fd20:ce::254/128\"]", "reaches fd00:ec2::/32"),
        ] {
            finds((couriers, cidrs), "SK0309", "couriers", part);
        }
        for cidrs in [
            "cidrs: [10.0.0.0/8], except: [10.244.0.0/16, 10.96.0.0/12]",
            "cidrs: [192.0.0.0/16], except: [192.0.2.0/25, 192.0.2.128/25]",
            "cidrs: [169.253.0.0/16]",
        ] {
            assert_eq!(site(&[(couriers, cidrs)]).1, [], "{cidrs}");
        }
        finds(("namespace: partners", "namespace: commerce"), "SK0309", "commerce", "in namespace `commerce`");
    }

    #[test]
    fn a_site_that_is_none_adds_nothing() {
        let mut intent = planted(&[]).read().0;
        let before = intent.clone();
        let found = extend(&mut intent, Path::new("no/such/site.yaml"));
        assert_eq!(found.iter().map(|it| it.code).collect::<Vec<_>>(), ["SK0300"]);
        assert_eq!(intent, before);
    }
}
