//! The small world of the tests: a shop, a showcase, and the spans of one call.

use sekat_policy::intent::{Audience, Classes, Domain, Edge, Method, Place, Port, Protocol, Store, Topic, Workload};

use super::*;
use crate::input::Count;

pub(super) const CHARGE: &str = "/shop.Pay/Charge";
pub(super) const LIST: &str = "/shop.Catalog/List";

pub(super) fn nowhere() -> sekat_policy::Span {
    sekat_policy::Span::default()
}

pub(super) fn classes(names: &[&str]) -> Classes {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(super) fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(super) fn identity(workload: &str) -> String {
    let domain = if workload.starts_with("show") { "show" } else { "shop" };
    format!("spiffe://{domain}.example/{workload}")
}

/// Order calls payment and catalog; the showcase calls catalog; everybody may come to the edge, which may call order.
pub(super) fn intent() -> Intent {
    let workload = |name: &str, domain: &str, audience| Workload {
        name: name.to_owned(),
        domain: domain.to_owned(),
        identity: identity(name),
        place: Place::default(),
        ports: vec![Port { name: "grpc".to_owned(), number: 1, protocol: Protocol::Tcp, audience }],
        span: nowhere(),
    };
    let method = |path: &str, workload: &str, response: &[&str]| Method {
        path: path.to_owned(),
        workload: workload.to_owned(),
        port: "grpc".to_owned(),
        request: Classes::new(),
        response: classes(response),
        span: nowhere(),
    };
    let edge = |caller: &str, method: &str| Edge {
        caller: caller.to_owned(),
        method: method.to_owned(),
        purpose: None,
        span: nowhere(),
    };
    let domain = |name: &str, may_hold: &[&str]| Domain {
        name: name.to_owned(),
        trust_domain: format!("{name}.example"),
        may_hold: classes(may_hold),
        span: nowhere(),
    };
    Intent {
        domains: vec![domain("shop", &["payment", "user"]), domain("show", &[])],
        workloads: vec![
            workload("order", "shop", Audience::Callers),
            workload("payment", "shop", Audience::Callers),
            workload("catalog", "shop", Audience::Callers),
            workload("edge", "shop", Audience::Public),
            workload("showcase", "show", Audience::Callers),
        ],
        methods: vec![
            method(CHARGE, "payment", &["payment"]),
            method(LIST, "catalog", &[]),
            method("/shop.Order/Buy", "order", &["user"]),
        ],
        edges: vec![
            edge("order", CHARGE),
            edge("order", LIST),
            edge("showcase", LIST),
            edge("edge", "/shop.Order/Buy"),
        ],
        stores: vec![Store {
            name: "payment-db".to_owned(),
            classes: classes(&["payment"]),
            place: Place::default(),
            ports: Vec::new(),
            clients: names(&["payment"]),
            span: nowhere(),
        }],
        topics: vec![Topic {
            name: "orders".to_owned(),
            publishers: names(&["order"]),
            consumers: names(&["catalog"]),
            classes: Classes::new(),
            span: nowhere(),
        }],
        ..Intent::default()
    }
}

pub(super) fn span(service: &str, kind: Kind, path: &str) -> OwnedSpan {
    let name = path.trim_start_matches('/');
    let mut span = OwnedSpan {
        service: service.to_owned(),
        instance: format!("{service}-1"),
        trace_id: [7; 16],
        flags: 0x101,
        name: name.to_owned(),
        kind,
        grpc_status_code: Some(0),
        ..OwnedSpan::default()
    };
    span.texts[0] = "grpc".to_owned();
    span.texts[1] = "grpc".to_owned();
    span.texts[2] = name.split('/').next().unwrap().to_owned();
    span.texts[3] = name.to_owned();
    span.texts[5] = "OK".to_owned();
    span
}

pub(super) const DECISION: usize = 13;
pub(super) const DIGEST: usize = 14;
pub(super) const MS: u64 = 1_000_000;

/// Both halves of a call as this mesh writes them.
pub(super) fn call(caller: &str, callee: &str, path: &str) -> Vec<OwnedSpan> {
    let client =
        OwnedSpan { span_id: [1; 8], start_ns: 1_000 * MS, end_ns: 1_100 * MS, ..span(caller, Kind::Client, path) };
    let mut server = OwnedSpan {
        span_id: [2; 8],
        parent_id: [1; 8],
        flags: 0x301,
        start_ns: 1_010 * MS,
        end_ns: 1_090 * MS,
        ..span(callee, Kind::Server, path)
    };
    server.texts[PEER] = identity(caller);
    server.texts[DECISION] = "allow".to_owned();
    server.texts[DIGEST] = "d1".to_owned();
    vec![client, server]
}

pub(super) fn charge() -> Vec<OwnedSpan> {
    call("order", "payment", CHARGE)
}

/// Sets how a call ended, in both spellings.
pub(super) fn ended(span: &mut OwnedSpan, status: &str) {
    span.grpc_status_code = dialect::Status::of_name(status).map(|status| i64::from(status.number()));
    span.texts[5] = status.to_owned();
}

pub(super) fn counted(count: u64) -> Counters {
    let one = Count { caller: identity("order"), method: CHARGE.to_owned(), status: "OK".to_owned(), count };
    Counters { workload: "payment".to_owned(), to_ns: u64::MAX, served: vec![one], ..Counters::default() }
}

pub(super) fn record() -> AccessRecord {
    AccessRecord {
        workload: "payment".to_owned(),
        sequence: 1,
        at_ns: 1_050 * MS,
        caller: identity("order"),
        method: CHARGE.to_owned(),
        trace_id: [7; 16],
        span_id: [2; 8],
    }
}
