//! Generated policies: every kind of peer, port, direction and conflict, from a fixed seed. They are the JSON that both
//! this crate's reader and the other analysis are given.

use serde_json::{Value, json};

pub(crate) const NAMESPACES: [&str; 3] = ["x", "y", "z"];
pub(crate) const PODS: [&str; 3] = ["a", "b", "c"];
pub(crate) const NUMBERS: [u16; 2] = [80, 81];

/// What one draws from: the kinds of everything, so that a test can count that each was drawn.
pub(crate) struct Draw {
    state: u64,
    /// The kinds that the case has.
    pub(crate) kinds: Vec<&'static str>,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, kinds: Vec::new() }
    }

    /// xorshift64*.
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let mixed = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(mixed).unwrap() % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn kind<T: Clone>(&mut self, of: &[(&'static str, T)]) -> T {
        let (kind, value) = &of[self.below(of.len())];
        self.kinds.push(kind);
        value.clone()
    }

    fn several(&mut self, counts: &[usize], mut each: impl FnMut(&mut Self) -> Value) -> Value {
        let count = self.one(counts);
        (0..count).map(|_| each(self)).collect()
    }

    /// One to three policies.
    pub(crate) fn policies(&mut self) -> Value {
        let count = self.kind(&[("one policy", 1), ("policies that add up", 2), ("three policies", 3)]);
        let items: Vec<Value> = (0..count).map(|number| self.policy(number)).collect();
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicyList", "items": items})
    }

    fn policy(&mut self, number: usize) -> Value {
        let (ingress, egress) =
            self.kind(&[("ingress", (true, false)), ("egress", (false, true)), ("both directions", (true, true))]);
        let mut spec = json!({"podSelector": self.selector("pod", &PODS), "policyTypes": []});
        for (wanted, name, field, peers) in
            [(ingress, "Ingress", "ingress", "from"), (egress, "Egress", "egress", "to")]
        {
            if wanted {
                spec["policyTypes"].as_array_mut().unwrap().push(json!(name));
                spec[field] = self.several(&[0, 1, 1, 2], |draw| draw.rule(peers));
            }
        }
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": format!("p{number}"), "namespace": self.one(&NAMESPACES)},
            "spec": spec,
        })
    }

    fn rule(&mut self, peers: &str) -> Value {
        let mut rule = json!({});
        if self.kind(&[("peers", true), ("peers", true), ("everybody", false)]) {
            rule[peers] = self.several(&[1, 1, 2], Self::peer);
        }
        if self.kind(&[("ports", true), ("ports", true), ("all ports", false)]) {
            rule["ports"] = self.several(&[1, 1, 2], Self::port);
        }
        rule
    }

    fn peer(&mut self) -> Value {
        let kind = self.kind(&[("own namespace", 0), ("namespaces", 1), ("pods of namespaces", 2), ("block", 3)]);
        match kind {
            0 => json!({"podSelector": self.selector("pod", &PODS)}),
            1 => json!({"namespaceSelector": self.selector("ns", &NAMESPACES)}),
            2 => json!({
                "namespaceSelector": self.selector("ns", &NAMESPACES),
                "podSelector": self.selector("pod", &PODS),
            }),
            _ => json!({"ipBlock": self.kind(&[
                ("everything", json!({"cidr": "0.0.0.0/0"})),
                ("pods as a block", json!({"cidr": "10.244.0.0/16"})),
                ("some pods as a block", json!({"cidr": "10.244.0.0/29"})),
                ("one pod as a block", json!({"cidr": "10.244.0.4/32"})),
                ("an exception of pods", json!({"cidr": "10.0.0.0/8", "except": ["10.244.0.0/30", "10.244.0.8/30"]})),
                ("an exception outside", json!({"cidr": "0.0.0.0/0", "except": ["198.51.100.0/25"]})),
                ("a block outside", json!({"cidr": "198.51.100.0/24"})),
            ])}),
        }
    }

    fn port(&mut self) -> Value {
        let protocol = self.one(&["TCP", "UDP", "SCTP"]);
        let number = self.one(&NUMBERS);
        self.kind(&[
            ("a number without protocol", json!({"port": number})),
            ("a number", json!({"port": number, "protocol": protocol})),
            ("a protocol", json!({"protocol": protocol})),
            ("a range", json!({"port": 79, "endPort": number, "protocol": protocol})),
            ("a wide range", json!({"port": 81, "endPort": 9000, "protocol": protocol})),
            ("a name", json!({"port": format!("serve-{number}-{}", protocol.to_lowercase()), "protocol": protocol})),
            ("a name of another protocol", json!({"port": format!("serve-{number}-tcp"), "protocol": "UDP"})),
            ("a name that nobody has", json!({"port": "nobody", "protocol": protocol})),
        ])
    }

    fn selector(&mut self, key: &'static str, values: &[&str; 3]) -> Value {
        let (first, second) = (self.one(values), self.one(values));
        self.kind(&[
            ("an empty selector", json!({})),
            ("a label", json!({"matchLabels": {key: first}})),
            ("a label", json!({"matchLabels": {key: first}})),
            ("In", json!({"matchExpressions": [{"key": key, "operator": "In", "values": [first, second]}]})),
            ("NotIn", json!({"matchExpressions": [{"key": key, "operator": "NotIn", "values": [first]}]})),
            (
                "NotIn of a missing label",
                json!({"matchExpressions": [{"key": "no", "operator": "NotIn", "values": ["v"]}]}),
            ),
            ("Exists", json!({"matchExpressions": [{"key": key, "operator": "Exists"}]})),
            ("DoesNotExist", json!({"matchExpressions": [{"key": key, "operator": "DoesNotExist"}]})),
            (
                "a label and an expression",
                json!({
                    "matchLabels": {key: first},
                    "matchExpressions": [{"key": key, "operator": "NotIn", "values": [second]}],
                }),
            ),
        ])
    }
}
