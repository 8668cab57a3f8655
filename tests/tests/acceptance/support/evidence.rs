//! Whether what processes wrote down about accesses agrees: spans, which are lost with a killed process, against
//! access records, which are not.

use std::collections::BTreeSet;

use acceptance::Mesh;

use super::spans::{self, Kind, Span};
use super::stores::{Access, verified_accesses};

/// Checks every chain of a stopped mesh and that each access that a span tells of has its record. Returns the
/// records.
///
/// # Panics
/// At the first record that is missing, changed or out of place.
pub(crate) fn every_access_is_recorded(mesh: &Mesh, services: &[&'static str]) -> Vec<Access> {
    let records: Vec<Access> = services.iter().flat_map(|service| verified_accesses(mesh, service)).collect();
    let recorded: BTreeSet<[&str; 3]> = records.iter().map(place).collect();
    let spans = spans::in_files(&mesh.data().join("traces"));
    let accesses: Vec<&Span> = spans.iter().filter(|span| is_recorded(span, services)).collect();
    assert!(!accesses.is_empty(), "the spans tell of accesses");
    for span in accesses {
        let place = [span.service.as_str(), &span.trace_id, &span.span_id];
        assert!(recorded.contains(&place), "no record of {} at {}", span.name, span.service);
    }
    records
}

fn place(access: &Access) -> [&str; 3] {
    [access.service, &access.trace_id, &access.span_id]
}

/// Whether a span is of a call to one of these services that was answered and touches what is recorded.
pub(crate) fn is_recorded(span: &Span, services: &[&str]) -> bool {
    let classes = span.attribute("sekat.data_class");
    span.kind == Kind::Server
        && services.contains(&span.service.as_str())
        && span.attribute("rpc.grpc.status_code") == "0"
        && (classes.contains("USER") || classes.contains("PAYMENT"))
}
