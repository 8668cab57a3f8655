//! Short ways to say a cluster and to ask about it.

use sekat_policy::Diagnostic;
use sekat_reach::{Analysis, Options, Source, read};

/// The analysis of one YAML text, which must be sound; the naive checker must agree with all of it.
pub(crate) fn analysis(text: &str) -> Analysis {
    analysis_with(text, Options::default())
}

pub(crate) fn analysis_with(text: &str, options: Options) -> Analysis {
    let source = Source { name: "f.yaml".to_owned(), text: text.to_owned() };
    let (cluster, findings) = read(&[source], &options);
    let cluster = cluster.unwrap_or_else(|| panic!("{findings:#?}"));
    let analysis = Analysis::new(cluster, options);
    assert_eq!(analysis.recheck().differences, Vec::<String>::new());
    analysis
}

/// What is wrong with a text.
pub(crate) fn errors(text: &str) -> Vec<Diagnostic> {
    let source = Source { name: "f.yaml".to_owned(), text: text.to_owned() };
    let (cluster, findings) = read(&[source], &Options::default());
    assert!(cluster.is_none(), "nothing may be half-read");
    findings
}

/// What is open, as `certain` or, if something is not certain, `certain | possible`.
pub(crate) fn conn(analysis: &Analysis, src: &str, dst: &str) -> String {
    let mut found = "No Connections".to_owned();
    analysis
        .rows(|row| {
            if row.src == src && row.dst == dst {
                found = row.conn.certain.to_string();
                if row.conn.certain != row.conn.possible {
                    found = format!("{found} | {}", row.conn.possible);
                }
            }
            Ok::<(), ()>(())
        })
        .expect("rows");
    found
}

/// A bare pod with its labels in flow style.
pub(crate) fn pod(namespace: &str, name: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: {namespace}, name: {name}, labels: {{{labels}}}}}\n\
         spec: {{containers: [{{name: c}}]}}\n---\n"
    )
}

/// A namespace with its labels in flow style.
pub(crate) fn namespace(name: &str, labels: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n---\n")
}

/// A policy with its spec in flow style.
pub(crate) fn policy(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{namespace: {namespace}, name: {name}}}\n\
         spec: {spec}\n---\n"
    )
}
