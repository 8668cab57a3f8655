//! The schema for editors takes the examples, and refuses the mistakes that it is there for.

use std::collections::BTreeMap;
use std::fs;

use sekat_yaml::{Node, Value};

use crate::repository;

const EXAMPLES: [&str; 3] =
    ["docs/policy/shop/policy.yaml", "docs/policy/no-contracts.yaml", "crates/contract/src/intent_lints/fixture.yaml"];

const SITES: [&str; 3] = [
    "deploy/kubernetes/base/site.yaml",
    "deploy/kubernetes/overlays/local/site.yaml",
    "deploy/kubernetes/overlays/production/site.yaml",
];

struct Schema {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Schema {
    /// The schema of policy files or of site files; the second refers to the first.
    fn read(name: &str) -> Self {
        let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        for name in ["policy.schema.json", "site.schema.json"] {
            let text = fs::read_to_string(repository("docs").join(name)).unwrap_or_default();
            let schema: serde_json::Value = serde_json::from_str(&text).expect("the schema is JSON");
            compiler.add_resource(name, schema).expect("a resource");
        }
        let index = compiler.compile(name, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, index }
    }

    /// Why it does not take `text`.
    fn refuses(&self, text: &str) -> Option<String> {
        let node = sekat_yaml::documents("example.yaml", text).find_map(Result::ok);
        let value = node.map_or(serde_json::Value::Null, |node| json(&node));
        self.schemas.validate(&value, self.index).err().map(|error| error.to_string())
    }
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(text) => text.clone().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            let entries: BTreeMap<_, _> = entries.iter().map(|(key, value)| (key.name.clone(), json(value))).collect();
            entries.into_iter().collect()
        }
    }
}

#[test]
fn examples_keep_the_schema_and_the_rules() {
    let schema = Schema::read("policy.schema.json");
    for example in EXAMPLES {
        let path = repository(example);
        let text = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(schema.refuses(&text), None, "{example}");
        let (intent, findings) = sekat_contract::policy_file::read(&path);
        assert_eq!(findings, [], "{example}");
        assert!(!intent.edges.is_empty() && !intent.assertions.is_empty(), "{example}");
    }
}

#[test]
fn mistakes_that_an_editor_can_see_are_refused() {
    let schema = Schema::read("policy.schema.json");
    let text = fs::read_to_string(repository("docs/policy/shop/policy.yaml")).unwrap_or_default();
    for (from, to) in [
        ("kind: Policy", "kind: policy"),
        ("trustDomain: showcase.shop.example", "trustdomain: showcase.shop.example"),
        ("trustDomain: showcase.shop.example", "trustDomain: spiffe://showcase"),
        ("audience: public", "audience: everybody"),
        ("{port: 8443,", "{port: 84430,"),
        ("selector: {app: merchant}", "selector: {}"),
        ("purpose: checkout", "purpose: 7"),
        ("203.0.113.128/25", "203.0.113.128"),
        ("{from: showcase, to: internet}", "{from: showcase, domain: showcase, to: internet}"),
        ("{from: showcase, to: internet}", "{from: showcase}"),
        ("{from: showcase, to: internet}", "{from: showcase, to: internet, class: user}"),
        ("protos: [protos]", "proto: [protos]"),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        assert!(schema.refuses(&text.replace(from, to)).is_some(), "{to}");
    }
}

#[test]
fn site_files_keep_their_schema_and_their_mistakes_are_refused() {
    let schema = Schema::read("site.schema.json");
    for site in SITES {
        let text = fs::read_to_string(repository(site)).unwrap_or_default();
        assert_eq!(schema.refuses(&text), None, "{site}");
    }
    let text = fs::read_to_string(repository("deploy/kubernetes/overlays/production/site.yaml")).unwrap_or_default();
    for (from, to) in [
        ("kind: Site", "kind: Policy"),
        ("pods: [", "pod: ["),
        ("    cidrs: [198.51.100.0/24]\n", ""),
        ("ports: [443]", "ports: [https]"),
        ("elsewhere: [ops]", "elsewhere: [{name: ops}]"),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        assert!(schema.refuses(&text.replace(from, to)).is_some(), "{to}");
    }
}
