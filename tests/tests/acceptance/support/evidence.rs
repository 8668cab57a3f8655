//! Whether what processes wrote down about accesses agrees: counters, access records, spans. All of it is read from
//! the files of a mesh that was stopped.

use std::collections::{BTreeMap, BTreeSet};

use acceptance::Mesh;
use acceptance::records::Count;

use super::spans::{self, Kind, Span};
use super::stores::{Access, SERVICES, verified_accesses};

/// Differences that a failure shows.
const SHOWN: usize = 5;

/// Where a call was: service, trace, span.
type Place<'a> = [&'a str; 3];

/// Checks every chain, and that each access that a span tells of has its record. Processes may have been killed: a
/// span is lost with them, a record is not.
///
/// # Panics
/// At the first record that is missing, changed or out of place.
pub(crate) fn every_access_is_recorded(mesh: &Mesh) {
    let records: Vec<Access> = SERVICES.into_iter().flat_map(|service| verified_accesses(mesh, service)).collect();
    let recorded: BTreeSet<Place<'_>> = records.iter().map(Access::place).collect();
    let spans = spans::in_files(&mesh.data().join("traces"));
    let mut told = 0;
    for span in spans.iter().filter(|span| is_access(span) && span.attribute("rpc.grpc.status_code") == "0") {
        assert!(recorded.contains(&place(span)), "no record of {} at {}", span.name, span.service);
        told += 1;
    }
    assert!(told > 0, "the spans tell of accesses");
}

/// Checks every chain, and that counters, records and spans tell of the same calls, one for one. No process may have
/// been killed. Returns how many accesses there were.
///
/// # Panics
/// At the first difference.
pub(crate) fn counters_records_and_spans_agree(mesh: &Mesh) -> usize {
    let spans = spans::in_files(&mesh.data().join("traces"));
    let mut accesses = 0;
    for service in SERVICES {
        let records = verified_accesses(mesh, service);
        let recorded: BTreeSet<Place<'_>> = records.iter().map(Access::place).collect();
        assert_eq!(recorded.len(), records.len(), "{service}: one record for each access");
        let served: Vec<&Span> =
            spans.iter().filter(|span| span.service == service && span.kind == Kind::Server).collect();
        let told: BTreeSet<Place<'_>> = served.iter().filter(|span| is_access(span)).map(|span| place(span)).collect();
        let without_record: Vec<&&Span> = served
            .iter()
            .filter(|span| told.contains(&place(span)) && !recorded.contains(&place(span)))
            .take(SHOWN)
            .collect();
        assert!(without_record.is_empty(), "{service}: accesses without a record: {without_record:#?}");
        // Writes of other classes leave records, too.
        let admitted: BTreeSet<Place<'_>> = served.iter().map(|span| place(span)).collect();
        let without_span: Vec<_> = recorded.difference(&admitted).take(SHOWN).collect();
        assert!(without_span.is_empty(), "{service}: records without a span: {without_span:?}");
        accesses += records.len();

        let mut counted: BTreeMap<(String, String), u64> = BTreeMap::new();
        for count in mesh.counters(service).into_iter().filter(|count| count.direction == "server") {
            *counted.entry((count.peer, count.method)).or_default() += count.count;
        }
        let mut seen: BTreeMap<(String, String), u64> = BTreeMap::new();
        for span in served {
            let call = (span.attribute("sekat.peer.id").to_owned(), format!("/{}", span.name));
            *seen.entry(call).or_default() += 1;
        }
        assert_eq!(counted, seen, "{service}: calls counted, and calls with a span");
    }
    accesses
}

/// Calls of the services that broke off, and those that they made: somebody waited, and their connection did not hold.
pub(crate) fn broken_calls(mesh: &Mesh) -> Vec<Count> {
    let counts = SERVICES.into_iter().flat_map(|service| mesh.counters(service));
    let is_broken = |count: &Count| matches!(&*count.status, "CANCELLED" | "UNAVAILABLE");
    // Streams end no other way.
    let is_stream = |count: &Count| ["/Watch", "/Stream"].iter().any(|verb| count.method.contains(verb));
    counts.filter(|count| is_broken(count) && !is_stream(count)).collect()
}

fn place(span: &Span) -> Place<'_> {
    [&span.service, &span.trace_id, &span.span_id]
}

/// Whether a span is of an admitted call of a service with a store that touches what is recorded, and that its handler
/// has answered. A call that its caller gave up, or whose time was over, has told nobody anything.
fn is_access(span: &Span) -> bool {
    const UNANSWERED: [&str; 2] = ["CANCELLED", "DEADLINE_EXCEEDED"];
    let classes = span.attribute("sekat.data_class");
    span.kind == Kind::Server
        && !UNANSWERED.contains(&span.attribute("rpc.response.status_code"))
        && SERVICES.contains(&span.service.as_str())
        && span.attribute("sekat.decision") == "allow"
        && (classes.contains("USER") || classes.contains("PAYMENT"))
}
