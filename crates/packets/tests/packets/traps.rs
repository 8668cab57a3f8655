//! The places where readers of NetworkPolicy go wrong. Each is a policy, cells that it lets pass and cells that it
//! stops, both written down by hand; all other cells have to be as this crate's evaluation says.

use std::collections::BTreeMap;

use sekat_packets::Observed;
use sekat_policy::intent::Protocol::{self, Sctp, Tcp, Udp};

use crate::support::{PODS, cell, cluster, go_on, observe, world};

const WEB: &str = "a/web[Deployment]";
const DB: &str = "a/db[StatefulSet]";
const OTHER: &str = "b/web[Deployment]";
const JOB: &str = "c/job[CronJob]";
const AGENT: &str = "a/agent[DaemonSet]";
/// A port that no pod declares and no policy below names.
const UNDECLARED: u16 = 7000;

type Question = (&'static str, &'static str, Protocol, u16);

struct Trap {
    name: &'static str,
    /// The `spec` of a policy in namespace `a`.
    spec: &'static str,
    passes: &'static [Question],
    stops: &'static [Question],
}

const TRAPS: &[Trap] = &[
    Trap {
        name: "without policyTypes, a policy isolates for ingress, and for egress only with a rule for it",
        spec: "{podSelector: {matchLabels: {app: db}}, egress: []}",
        passes: &[(DB, WEB, Tcp, 80), (WEB, OTHER, Tcp, 8080)],
        stops: &[(WEB, DB, Tcp, 5432), (JOB, DB, Udp, 53), (JOB, DB, Sctp, UNDECLARED)],
    },
    Trap {
        name: "an egress rule without policyTypes isolates both ways",
        spec: "{podSelector: {matchLabels: {app: db}}, egress: [{to: [{podSelector: {}}]}]}",
        passes: &[(DB, WEB, Tcp, 80), (WEB, OTHER, Tcp, 8080)],
        stops: &[(WEB, DB, Tcp, 5432), (DB, OTHER, Tcp, 8080), (DB, "192.0.2.1", Tcp, UNDECLARED)],
    },
    Trap {
        name: "rules for a direction that policyTypes leaves out say nothing",
        spec: "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], ingress: [], egress: []}",
        passes: &[(WEB, DB, Tcp, 5432), (JOB, DB, Udp, 53)],
        stops: &[(DB, WEB, Tcp, 80), (DB, "192.0.2.1", Udp, UNDECLARED)],
    },
    Trap {
        name: "an empty rule allows all, an empty list of rules nothing",
        spec: "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress, Egress], ingress: [{}], egress: []}",
        passes: &[(WEB, DB, Tcp, 5432), ("192.0.2.1", DB, Sctp, UNDECLARED), (AGENT, DB, Udp, UNDECLARED)],
        stops: &[(DB, WEB, Tcp, 80), (DB, AGENT, Tcp, 9100)],
    },
    Trap {
        name: "an empty from is everybody, addresses outside among them",
        spec: "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [], ports: [{port: 80}]}]}",
        passes: &[("192.0.2.1", WEB, Tcp, 80), (JOB, WEB, Tcp, 80), (JOB, OTHER, Tcp, 8080)],
        stops: &[("192.0.2.1", WEB, Udp, 80), (WEB, DB, Tcp, 5432)],
    },
    Trap {
        name: "a protocol without port is all its ports and no other protocol",
        spec: "{podSelector: {}, ingress: [{ports: [{protocol: UDP}]}]}",
        passes: &[(JOB, DB, Udp, 53), (JOB, WEB, Udp, UNDECLARED)],
        stops: &[(JOB, WEB, Tcp, 80), (JOB, DB, Tcp, 5432), (JOB, WEB, Sctp, 80)],
    },
    Trap {
        name: "SCTP is a protocol of its own",
        spec: "{podSelector: {}, ingress: [{ports: [{protocol: SCTP, port: 80}]}]}",
        passes: &[(JOB, WEB, Sctp, 80)],
        stops: &[(JOB, WEB, Tcp, 80), (JOB, WEB, Udp, 80), (JOB, WEB, Sctp, UNDECLARED)],
    },
    Trap {
        name: "a range of ports includes both ends",
        spec: "{podSelector: {}, ingress: [{ports: [{port: 79, endPort: 81}]}]}",
        passes: &[(JOB, WEB, Tcp, 79), (JOB, WEB, Tcp, 80), (JOB, WEB, Tcp, 81)],
        stops: &[(JOB, WEB, Tcp, 82), (JOB, WEB, Udp, 80), (JOB, DB, Tcp, 5432)],
    },
    Trap {
        name: "a port's name means what each destination declares under it, for egress",
        spec: "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}",
        passes: &[(DB, WEB, Tcp, 80), (DB, OTHER, Tcp, 8080), (DB, AGENT, Tcp, 9100)],
        stops: &[(DB, WEB, Udp, 80), (DB, OTHER, Tcp, UNDECLARED), (DB, JOB, Tcp, UNDECLARED)],
    },
    Trap {
        name: "one name for two protocols is the port of the rule's protocol",
        spec: "{podSelector: {}, ingress: [{ports: [{port: q, protocol: UDP}]}]}",
        passes: &[(JOB, DB, Udp, 53)],
        stops: &[(JOB, DB, Tcp, 5432), (JOB, DB, Udp, 5432), (JOB, DB, Tcp, 53)],
    },
    Trap {
        name: "a peer without namespaceSelector is of the policy's own namespace",
        spec: "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
        passes: &[(WEB, DB, Tcp, 5432)],
        stops: &[(OTHER, DB, Tcp, 5432), (AGENT, DB, Tcp, 5432), (JOB, DB, Udp, 53)],
    },
    Trap {
        name: "an empty namespaceSelector is every namespace, and no address outside",
        spec: "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}",
        passes: &[(OTHER, DB, Tcp, 5432), (JOB, WEB, Tcp, 80)],
        stops: &[("192.0.2.1", WEB, Tcp, 80), (AGENT, WEB, Tcp, 80)],
    },
    Trap {
        name: "both selectors in one peer have to hold",
        spec: "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: \
               {matchLabels: {app: job}}}]}]}",
        passes: &[(WEB, OTHER, Tcp, 8080)],
        stops: &[(OTHER, WEB, Tcp, 80), (JOB, WEB, Tcp, 80), (DB, WEB, Tcp, 80)],
    },
    Trap {
        name: "as two peers, one of them is enough",
        spec: "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}, {podSelector: \
               {matchLabels: {app: db}}}]}]}",
        passes: &[(OTHER, WEB, Tcp, 80), (DB, WEB, Tcp, 80)],
        stops: &[(JOB, WEB, Tcp, 80), (WEB, DB, Tcp, 5432)],
    },
    Trap {
        name: "NotIn holds for a label that is not there",
        spec: "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: \
               NotIn, values: [b]}]}}]}]}",
        passes: &[(JOB, WEB, Tcp, 80), (DB, WEB, Tcp, 80)],
        stops: &[(OTHER, WEB, Tcp, 80)],
    },
    Trap {
        name: "expressions all have to hold",
        spec: "{podSelector: {matchExpressions: [{key: app, operator: In, values: [web, db]}, {key: tier, operator: \
               DoesNotExist}]}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: \
               Exists}]}}]}]}",
        passes: &[(OTHER, DB, Tcp, 5432), (JOB, WEB, Tcp, 80)],
        stops: &[(JOB, DB, Tcp, 5432)],
    },
    Trap {
        name: "every namespace has its name as a label",
        spec: "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: \
               c}}}]}]}",
        passes: &[(JOB, WEB, Tcp, 80)],
        stops: &[(OTHER, WEB, Tcp, 80), (DB, WEB, Tcp, 80)],
    },
    Trap {
        name: "a block of addresses means pods too, and an exception takes only from its own block",
        spec: "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: \
               10.0.0.0/8, except: [10.128.0.0/9]}}, {ipBlock: {cidr: 198.51.100.0/24, except: \
               [198.51.100.128/25]}}, {ipBlock: {cidr: 198.51.100.255/32}}]}]}",
        passes: &[
            (DB, "198.51.100.0", Tcp, UNDECLARED),
            (DB, "198.51.100.255", Udp, UNDECLARED),
            (DB, "10.0.0.0", Tcp, UNDECLARED),
        ],
        stops: &[(DB, WEB, Tcp, 80), (DB, "198.51.100.128", Tcp, UNDECLARED), (DB, "192.0.2.1", Tcp, UNDECLARED)],
    },
    Trap {
        name: "a block that covers pods lets them in",
        spec: "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/16}}]}]}",
        passes: &[(JOB, DB, Tcp, 5432)],
        stops: &[("192.0.2.1", DB, Tcp, 5432), (AGENT, DB, Tcp, 5432)],
    },
    Trap {
        name: "a block of IPv6 means no address of IPv4",
        spec: "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: '::/0'}}]}]}",
        passes: &[(JOB, WEB, Tcp, 80)],
        stops: &[(JOB, DB, Tcp, 5432), ("192.0.2.1", DB, Tcp, 5432)],
    },
    Trap {
        name: "a pod's own node always reaches it and is reached; pods in a node's network are not selected",
        spec: "{podSelector: {}, policyTypes: [Ingress, Egress]}",
        passes: &[
            ("node", DB, Tcp, 5432),
            (DB, "node", Udp, UNDECLARED),
            (AGENT, OTHER, Tcp, 8080),
            (JOB, AGENT, Tcp, 9100),
        ],
        stops: &[(DB, WEB, Tcp, 80), (WEB, AGENT, Tcp, 9100), (AGENT, DB, Tcp, 5432)],
    },
];

fn with(spec: &str) -> String {
    format!(
        "{PODS}---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: \
         a}}\nspec: {spec}\n"
    )
}

#[test]
fn every_trap() {
    if !go_on("traps::every_trap") {
        return;
    }
    let mut world = world(&cluster(PODS));
    for Trap { name, spec, passes, stops } in TRAPS {
        let cluster = cluster(&with(spec));
        world.enforce(&cluster).unwrap();
        let report = observe(&world, &cluster);
        let seen: BTreeMap<_, _> = report.rows.iter().map(|row| (&row.cell, row.observed)).collect();
        assert!(!passes.is_empty() && !stops.is_empty(), "{name}: an allow needs its deny");
        for (wanted, questions) in [(Observed::Reached, passes), (Observed::Denied, stops)] {
            for &(source, destination, protocol, port) in *questions {
                let cell = cell(source, destination, protocol, port);
                assert_eq!(seen.get(&cell), Some(&wanted), "{name}: {cell:?}");
            }
        }
    }
}

/// Policies only add up: what one allows, no other takes away.
#[test]
fn two_policies_allow_what_either_allows() {
    if !go_on("traps::two_policies_allow_what_either_allows") {
        return;
    }
    let deny = with("{podSelector: {}, policyTypes: [Ingress]}");
    let both = format!(
        "{deny}---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: q, namespace: a}}\nspec: \
         {{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{ports: [{{port: 5432}}]}}]}}\n"
    );
    let cluster = cluster(&both);
    let report = observe(&world(&cluster), &cluster);
    let seen = |port| report.rows.iter().find(|row| row.cell == cell(JOB, DB, Tcp, port)).unwrap().observed;
    assert_eq!((seen(5432), seen(UNDECLARED)), (Observed::Reached, Observed::Denied));
}
