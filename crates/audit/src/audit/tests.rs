//! Each row is a small world: spans of a good call, one thing about it that is changed, and exactly what is found.

use std::collections::BTreeSet;

use super::*;
use crate::finding::Verdict;
use crate::input::{Count, Run};
use crate::sample::{OwnedSpan, PEER};
use crate::span::Link;
use crate::tally::Evidence;

mod world;

use world::*;

/// Audits spans and one more thing. Counters of one call are there unless `more` is about them.
fn audit_with(spans: &[OwnedSpan], options: Options, more: impl FnOnce(&mut Audit<'_>)) -> Report {
    let intent = intent();
    let mut audit = Audit::new(&intent, Options { self_test: false, ..options });
    more(&mut audit);
    spans.iter().for_each(|span| span.hand_to(&mut audit));
    audit.finish().unwrap()
}

fn codes(report: &Report) -> Vec<What> {
    report.findings.iter().map(|finding| finding.what).collect()
}

/// What is found in spans; that nothing is counted outside of traces is left out.
fn found(spans: &[OwnedSpan]) -> Vec<What> {
    let report = audit_with(spans, Options::default(), |_| {});
    codes(&report).into_iter().filter(|what| *what != What::NoCounters).collect()
}

#[test]
fn a_good_call_with_its_counter_and_its_record_holds() {
    let report = audit_with(&charge(), Options::default(), |audit| {
        audit.counters(counted(1));
        audit.access(&record());
    });
    assert_eq!((codes(&report), report.verdict), (vec![], Verdict::Holds));
    assert_eq!((report.calls, report.spans_read, report.edges.len()), (1, 2, 1));
    assert_eq!(report.edges[0].evidence, Evidence::Certificate);
    assert_eq!(report.coverage.unused.len(), 3);
}

/// A name, what is done to the two spans of a good call, and what is found.
type Row = (&'static str, fn(&mut Vec<OwnedSpan>), &'static [What]);

#[test]
fn each_fault_has_its_finding() {
    let rows: &[Row] = &[
        ("nothing", |_| {}, &[]),
        ("a delivery twice", |spans| spans.extend_from_within(..), &[]),
        ("a showcase that pays", |spans| *spans = call("showcase", "payment", CHARGE), &[What::ForbiddenCall]),
        (
            "a forged parent",
            |spans| spans[1].texts[PEER] = identity("catalog"),
            &[What::ForbiddenCall, What::ForgedParent],
        ),
        (
            "a stranger's certificate",
            |spans| spans[1].texts[PEER] = "spiffe://x/y".into(),
            &[What::ForbiddenCall, What::ForgedParent],
        ),
        ("a hidden caller", |spans| spans[1].texts[PEER].clear(), &[What::HiddenCaller, What::ClaimedCaller]),
        ("another domain", |spans| spans[1].domain = "show".into(), &[What::SpoofedExporter]),
        (
            "another's exporter",
            |spans| spans[1].exporter = identity("catalog"),
            &[What::SpoofedExporter, What::WrongServer],
        ),
        ("two services in one instance", |spans| spans[1].instance = "order-1".into(), &[What::SpoofedExporter]),
        ("another's method", |spans| spans[1].service = "catalog".into(), &[What::WrongServer]),
        (
            "a server that its client did not mean",
            |spans| spans[0].texts[PEER] = identity("catalog"),
            &[What::WrongServer],
        ),
        ("an unknown service", |spans| spans[1].service = "pay".into(), &[What::UnknownCallee]),
        ("two statuses", |spans| spans[1].grpc_status_code = Some(7), &[What::Contradiction]),
        (
            "two methods",
            |spans| spans[0].texts[3] = "shop.Catalog/List".into(),
            &[What::Contradiction, What::MethodMismatch],
        ),
        ("no client", |spans| drop(spans.remove(0)), &[What::ClientMissing]),
        ("no server", |spans| drop(spans.remove(1)), &[What::ClaimedCaller, What::ServerMissing]),
        ("lost links", |spans| spans[0].dropped_links = 1, &[What::DroppedContent]),
        (
            "no ids",
            |spans| spans[0].trace_id = [0; 16],
            &[What::ClaimedCaller, What::NoIds, What::ClientMissing, What::ServerMissing],
        ),
        (
            "a cause that is named a thousand times",
            |spans| {
                for number in 0..1_000_u64 {
                    let link = Link { trace_id: [7; 16], span_id: [2; 8], flags: 1 };
                    let one = OwnedSpan {
                        span_id: (number + 9).to_be_bytes(),
                        kind: Kind::Internal,
                        links: vec![link; 3],
                        ..OwnedSpan::default()
                    };
                    spans.push(OwnedSpan { trace_id: [8; 16], ..one });
                }
            },
            &[],
        ),
        ("a sample", |spans| spans[0].trace_state = "ot=th:8".into(), &[What::Sampled]),
        (
            "a clock an hour ahead",
            |spans| {
                spans[1].start_ns += 3_600_000 * MS;
                spans[1].end_ns += 3_600_000 * MS;
            },
            &[What::ClockSkew],
        ),
        (
            "a clock that is off a little",
            |spans| {
                spans[1].start_ns += 90 * MS;
                spans[1].end_ns += 90 * MS;
            },
            &[],
        ),
        (
            "two contents",
            |spans| {
                let twin = OwnedSpan { end_ns: 9_999 * MS, ..spans[1].clone() };
                spans.push(twin);
            },
            &[What::ConflictingSpan],
        ),
        (
            "an unsampled cause",
            |spans| spans[0].links.push(Link { trace_id: [9; 16], span_id: [9; 8], flags: 0x100 }),
            &[],
        ),
        (
            "a cause that is not there",
            |spans| spans[0].links.push(Link { trace_id: [9; 16], span_id: [9; 8], flags: 1 }),
            &[What::DanglingLink],
        ),
        (
            "a cause that is there",
            |spans| spans[0].links.push(Link { trace_id: [7; 16], span_id: [2; 8], flags: 1 }),
            &[],
        ),
    ];
    for (name, change, expected) in rows {
        let mut spans = charge();
        change(&mut spans);
        assert_eq!(found(&spans), *expected, "{name}");
    }
}

#[test]
fn a_refused_call_is_an_attempt_and_a_lost_one_is_none() {
    let rows: &[Row] = &[
        (
            "refused by the policy",
            |spans| {
                spans[1].texts[DECISION] = "deny".into();
                spans.iter_mut().for_each(|span| ended(span, "PERMISSION_DENIED"));
            },
            &[],
        ),
        (
            "refused at the network",
            |spans| {
                spans.truncate(1);
                ended(&mut spans[0], "UNAVAILABLE");
            },
            &[],
        ),
        (
            "let in and then failed",
            |spans| spans.iter_mut().for_each(|span| ended(span, "NOT_FOUND")),
            &[What::ForbiddenCall],
        ),
        ("denied and still OK", |spans| spans[1].texts[DECISION] = "deny".into(), &[What::ForbiddenCall]),
        (
            "without a status",
            |spans| {
                for span in spans {
                    span.texts[DECISION].clear();
                    span.grpc_status_code = None;
                    span.texts[5].clear();
                }
            },
            &[What::UnclearCall],
        ),
        ("only its client says OK", |spans| spans.truncate(1), &[What::ForbiddenCall, What::ServerMissing]),
    ];
    for (name, change, expected) in rows {
        let mut spans = call("showcase", "payment", CHARGE);
        change(&mut spans);
        assert_eq!(found(&spans), *expected, "{name}");
    }
    let mut refused = call("showcase", "payment", CHARGE);
    refused[1].texts[DECISION] = "deny".into();
    refused.iter_mut().for_each(|span| ended(span, "PERMISSION_DENIED"));
    let strict = || Options { attempts_violate: true, ..Options::default() };
    assert_eq!(codes(&audit_with(&refused, strict(), |_| {}))[0], What::UnannouncedAttempt);
    let probe = Options { probes: BTreeSet::from([[7; 16]]), ..strict() };
    let report = audit_with(&refused, probe, |_| {});
    assert_eq!(codes(&report), [What::NoCounters]);
    assert_eq!((report.edges[0].blocked, report.edges[0].announced), (1, 1));
    assert!(!report.coverage.untried.contains(&("showcase".to_owned(), CHARGE.to_owned())));
    assert_eq!(report.coverage.forbidden_pairs, 2);
}

#[test]
fn a_public_listener_has_callers_without_certificates_and_no_other_has() {
    let mut spans = call("edge", "order", "/shop.Order/Buy");
    let mut entry = OwnedSpan { span_id: [3; 8], parent_id: [4; 8], ..spans[1].clone() };
    (entry.service, entry.instance) = ("edge".to_owned(), "edge-1".to_owned());
    entry.texts[PEER].clear();
    spans.push(entry);
    assert_eq!(found(&spans), []);
    // What the edge itself may not call, it may not forward either.
    let mut spans = charge();
    (spans[1].service, spans[1].instance) = ("edge".to_owned(), "edge-1".to_owned());
    spans[1].texts[PEER].clear();
    assert_eq!(found(&spans), [What::ForbiddenCall, What::WrongServer]);
}

#[test]
fn counters_say_what_spans_left_out() {
    let with = |counters: Counters| codes(&audit_with(&charge(), Options::default(), |audit| audit.counters(counters)));
    assert_eq!(with(counted(1)), []);
    assert_eq!(with(counted(3)), [What::MissingSpans]);
    assert_eq!(with(counted(0)), [What::UncountedCalls]);
    let mut rogue = counted(1);
    rogue.served.push(Count { caller: identity("showcase"), ..rogue.served[0].clone() });
    assert_eq!(with(rogue.clone()), [What::CountedCall, What::MissingSpans]);
    for status in ["PERMISSION_DENIED", "INVALID_ARGUMENT"] {
        rogue.served[1].status = status.to_owned();
        assert_eq!(with(rogue.clone()), [What::MissingSpans]);
    }
    let mut status = counted(1);
    status.served[0].status = "NOT_FOUND".to_owned();
    assert_eq!(with(status), [What::Contradiction]);
    assert_eq!(with(Counters { refusals: Some(2), ..counted(1) }), [What::MissingRefusals]);
    assert_eq!(with(Counters { spans_dropped: Some(2), ..counted(1) }), [What::DroppedSpans]);
    // Counters of a time in which nothing was called.
    assert_eq!(with(Counters { to_ns: 5, ..counted(0) }), []);
    let report = audit_with(&charge(), Options::default(), |audit| audit.counters(counted(3)));
    assert_eq!(report.findings[0].witnesses[0].why, "3 calls counted since its start, 1 with a span");
}

/// Two runs of payment: one call of the first, which ended at 1,090 ms, and two of the second, a minute later.
fn restarted() -> Vec<OwnedSpan> {
    let mut spans = charge();
    for number in 1..=2_u8 {
        for mut span in charge() {
            span.trace_id = [10 + number; 16];
            span.start_ns += 60_000 * MS;
            span.end_ns += 60_000 * MS;
            if span.service == "payment" {
                span.instance = "payment-2".to_owned();
            }
            spans.push(span);
        }
    }
    spans
}

#[test]
fn each_run_of_a_workload_is_held_against_its_own_counters() {
    let run = |number: u8, count| Counters { instance: format!("payment-{number}"), ..counted(count) };
    let report = |counters: &[Counters]| {
        audit_with(&restarted(), Options::default(), |audit| {
            counters.iter().cloned().for_each(|counters| audit.counters(counters));
        })
    };
    let with = |counters: &[Counters]| codes(&report(counters));
    assert_eq!(with(&[run(1, 1), run(2, 2)]), []);
    // The sum is right, and the runs are not.
    assert_eq!(with(&[run(1, 2), run(2, 1)]), [What::UncountedCalls, What::MissingSpans]);
    assert_eq!(with(&[run(2, 2)]), [What::UncountedCalls]);
    assert_eq!(
        report(&[run(2, 2)]).findings[0].witnesses[0].why,
        "`payment-1` has 1 calls with a span and no counters"
    );
    // Counters that do not say of which run they are, as they were before runs were told apart.
    assert_eq!(with(&[counted(2)]), [What::OldCounters]);
    assert_eq!(with(&[counted(1), run(2, 2)]), []);
    let refusing = Counters { refusals: Some(1), ..run(2, 2) };
    assert_eq!(with(&[run(1, 1), refusing]), [What::MissingRefusals]);
}

#[test]
fn a_killed_run_is_a_gap_after_its_last_counters_and_nowhere_else() {
    let open = |run, to_ms: u64, count| Counters {
        instance: "payment-2".to_owned(),
        run,
        to_ns: to_ms * MS,
        ..counted(count)
    };
    let report = |second: Counters| {
        audit_with(&restarted(), Options::default(), |audit| {
            audit.counters(Counters { instance: "payment-1".to_owned(), ..counted(1) });
            audit.counters(second);
        })
    };
    let with = |second| codes(&report(second));
    // Both calls are counted, but who knows what came after.
    assert_eq!(with(open(Run::Killed, 70_000, 2)), [What::UncountedEnd]);
    assert_eq!(with(open(Run::GoesOn, 70_000, 2)), []);
    // Both came after the last counters.
    assert_eq!(with(open(Run::Killed, 60_000, 0)), [What::UncountedEnd]);
    assert_eq!(with(open(Run::GoesOn, 60_000, 0)), [What::UncountedEnd]);
    let finding = report(open(Run::Killed, 60_000, 0)).findings.remove(0);
    assert_eq!((finding.count, finding.callee.as_str()), (2, "payment"));
    let why = "`payment-2` counted until 1970-01-01T00:01:00.000Z, then it was killed; 2 of its spans are later";
    assert_eq!(finding.witnesses[0].why, why);
    // Before its last counters nothing is forgiven.
    assert_eq!(with(open(Run::Killed, 70_000, 1)), [What::UncountedCalls, What::UncountedEnd]);
    assert_eq!(with(open(Run::GoesOn, 70_000, 3)), [What::MissingSpans]);
    // At that very moment a call may be counted or not, and no more often than it has spans.
    for (count, found) in [(0, vec![]), (1, vec![]), (2, vec![]), (3, vec![What::MissingSpans])] {
        assert_eq!(with(open(Run::GoesOn, 61_091, count)), found, "{count}");
    }
}

#[test]
fn access_records_and_spans_tell_of_the_same_calls() {
    let with = |records: &[AccessRecord], spans: &[OwnedSpan]| {
        codes(&audit_with(spans, Options::default(), |audit| {
            audit.records_accesses("payment");
            records.iter().for_each(|record| audit.access(record));
        }))
    };
    assert_eq!(with(&[record()], &charge()), []);
    assert_eq!(with(&[], &charge()), [What::UnrecordedAccess]);
    assert_eq!(
        with(&[AccessRecord { caller: identity("showcase"), ..record() }], &charge()),
        [What::ConflictingRecord]
    );
    assert_eq!(with(&[AccessRecord { method: LIST.to_owned(), ..record() }], &charge()), [What::ConflictingRecord]);
    let lost = AccessRecord { span_id: [8; 8], ..record() };
    assert_eq!(with(&[record(), lost.clone()], &charge()), [What::RecordWithoutSpan]);
    let open = |run, count| {
        let count = Count { caller: lost.caller.clone(), method: lost.method.clone(), count, ..Count::default() };
        codes(&audit_with(&charge(), Options::default(), |audit| {
            audit.records_accesses("payment");
            [record(), lost.clone()].iter().for_each(|record| audit.access(record));
            audit.counters(Counters { run, open: vec![count], ..counted(1) });
        }))
    };
    assert_eq!(open(Run::GoesOn, 1), [], "a stream that is open has no span yet");
    assert_eq!(open(Run::GoesOn, 0), [What::RecordWithoutSpan]);
    assert_eq!(open(Run::Ended, 1), [What::RecordWithoutSpan], "nothing is open after the end");
    let rogue = AccessRecord { caller: identity("showcase"), ..lost.clone() };
    assert_eq!(with(&[record(), rogue], &charge()), [What::ForbiddenCall, What::RecordWithoutSpan]);
    assert_eq!(with(&[record(), AccessRecord { span_id: [0; 8], ..record() }], &charge()), [What::Sampled]);
    // A record names the caller that a span hides.
    let mut hidden = charge();
    hidden[1].texts[PEER].clear();
    let rogue = AccessRecord { caller: identity("showcase"), ..record() };
    assert_eq!(with(&[rogue], &hidden), [What::ForbiddenCall, What::ForgedParent, What::HiddenCaller]);
}

#[test]
fn processes_account_for_their_own_spans_and_refusals() {
    let with = |recorded, dropped, sequence: &[i64]| {
        let mut spans = charge();
        for (index, number) in sequence.iter().enumerate() {
            let mut refused = OwnedSpan { audit_seq: Some(*number), ..call("showcase", "payment", CHARGE)[1].clone() };
            refused.texts[DECISION] = "deny".to_owned();
            refused.span_id = [50 + u8::try_from(index).unwrap(); 8];
            refused.parent_id = [0; 8];
            ended(&mut refused, "PERMISSION_DENIED");
            spans.push(refused);
        }
        codes(&audit_with(&spans, Options::default(), |audit| {
            let resource = Resource { service: "payment", instance: "payment-1", ..Resource::default() };
            audit.recorded(&resource, Recorded { recorded: Some(recorded), dropped: Some(dropped) });
        }))
    };
    assert_eq!(with(1, 0, &[]), []);
    assert_eq!(with(4, 0, &[]), [What::LostSpans]);
    assert_eq!(with(4, 3, &[]), [What::DroppedSpans]);
    assert_eq!(with(3, 0, &[1, 2]), []);
    assert_eq!(with(3, 0, &[1, 3]), [What::MissingRefusals]);
}

#[test]
fn an_unknown_path_is_what_the_audit_log_says() {
    let mut probe = call("showcase", "payment", "/x/y");
    probe.remove(0);
    let refused = &mut probe[0];
    (refused.parent_id, refused.audit_seq) = ([0; 8], Some(1));
    refused.texts[3] = dialect::OTHER.to_owned();
    refused.texts[2] = dialect::OTHER.to_owned();
    refused.texts[DECISION] = "deny".to_owned();
    ended(refused, "PERMISSION_DENIED");
    assert_eq!(found(&probe), [What::UnknownPath]);
    let entry = Refusal {
        workload: "payment".to_owned(),
        sequence: 1,
        caller: identity("showcase"),
        path: "/shop.Pay/Steal".to_owned(),
        trace_id: [7; 16],
    };
    let report = audit_with(&probe, Options::default(), |audit| audit.refusal(&entry));
    assert_eq!(codes(&report), [What::NoCounters]);
    assert_eq!((report.edges[0].method.as_str(), report.edges[0].blocked), ("/shop.Pay/Steal", 1));
    let other = Refusal { sequence: 2, ..entry };
    let report = audit_with(&probe, Options::default(), |audit| audit.refusal(&other));
    assert_eq!(codes(&report), [What::RecordWithoutSpan, What::NoCounters, What::UnknownPath]);
}

#[test]
fn without_certificates_a_caller_is_claimed_and_never_proven() {
    let strip = |mut spans: Vec<OwnedSpan>| {
        for span in &mut spans {
            span.texts[PEER..].iter_mut().for_each(String::clear);
        }
        spans
    };
    let report = audit_with(&strip(charge()), Options::default(), |_| {});
    assert_eq!(codes(&report), [What::ClaimedCaller, What::NoCounters]);
    assert_eq!(report.edges[0].evidence, Evidence::Claimed);
    let mut text = Vec::new();
    report.render_text(&mut text).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("claimed: of 1 calls"));
    let accepting = Options { accept_claims: true, ..Options::default() };
    let report = audit_with(&strip(charge()), accepting, |audit| audit.counters(counted(1)));
    assert_eq!((codes(&report), report.verdict), (vec![What::ClaimAccepted], Verdict::Incomplete));
    assert_eq!(found(&strip(call("showcase", "payment", CHARGE))), [What::ForbiddenCall]);
    let mut alone = strip(charge());
    alone.remove(0);
    alone[0].parent_id = [0; 8];
    assert_eq!(found(&alone), [What::UnknownCaller]);
    // Certificates of exporters prove what claims do not.
    let mut bound = strip(charge());
    (bound[0].exporter, bound[1].exporter) = (identity("order"), identity("payment"));
    assert_eq!(found(&bound), []);
    // A service has another name than its workload.
    let mut renamed = strip(charge());
    renamed[1].service = "Payment API".to_owned();
    let named = Options { services: [("Payment API".to_owned(), "payment".to_owned())].into(), ..Options::default() };
    assert_eq!(codes(&audit_with(&renamed, named, |_| {})), [What::ClaimedCaller, What::NoCounters]);
}

#[test]
fn a_stamp_counts_only_if_its_collector_is_trusted() {
    let mut spans = charge();
    spans[1].stamped = identity("catalog");
    assert_eq!(found(&spans), []);
    let trusting = Options { trust_stamp: true, ..Options::default() };
    assert_eq!(codes(&audit_with(&spans, trusting, |_| {}))[0], What::SpoofedExporter);
}

#[test]
fn stores_topics_and_flows_have_their_edges_too() {
    let database = |service: &str, name: &str| {
        let mut span = OwnedSpan { span_id: [5; 8], ..span(service, Kind::Client, "") };
        span.texts[..6].iter_mut().for_each(String::clear);
        (span.texts[8], span.texts[9], span.grpc_status_code) = ("postgresql".to_owned(), name.to_owned(), None);
        vec![span]
    };
    assert_eq!(found(&database("payment", "payment-db")), []);
    assert_eq!(found(&database("order", "payment-db")), [What::ForbiddenStore]);
    assert_eq!(found(&database("order", "mystery")), [What::UnknownStore]);
    let mut by_host = database("order", "x");
    by_host[0].texts[7] = "payment-db.shop.svc".to_owned();
    assert_eq!(found(&by_host), [What::ForbiddenStore]);
    let mut embedded = database("order", "/data/order.db");
    embedded[0].texts[8] = "sqlite".to_owned();
    assert_eq!(found(&embedded), [What::NothingSeen]);

    let message = |service: &str, kind, topic: &str| {
        let mut span = OwnedSpan { span_id: [5; 8], ..span(service, kind, "") };
        span.texts[..6].iter_mut().for_each(String::clear);
        (span.texts[10], span.texts[11], span.grpc_status_code) = ("kafka".to_owned(), topic.to_owned(), None);
        span
    };
    let produced = message("order", Kind::Producer, "orders");
    let link = Link { trace_id: [7; 16], span_id: [5; 8], flags: 0 };
    let mut consumed = message("catalog", Kind::Consumer, "orders");
    (consumed.span_id, consumed.links) = ([6; 8], vec![link]);
    assert_eq!(found(&[produced.clone(), consumed.clone()]), []);
    assert_eq!(found(&[consumed.clone()]), [What::DanglingLink]);
    assert_eq!(found(&[message("showcase", Kind::Consumer, "orders")]), [What::ForbiddenTopic]);
    assert_eq!(found(&[message("catalog", Kind::Producer, "orders")]), [What::ForbiddenTopic]);
    assert_eq!(found(&[message("order", Kind::Producer, "gossip")]), [What::UnknownTopic]);

    let flow = |caller: &str| Flow { caller: caller.to_owned(), callee: "payment".to_owned(), count: 4 };
    let with = |flow| codes(&audit_with(&charge(), Options::default(), |audit| audit.flow(flow)));
    assert_eq!(with(flow("order")), [What::NoCounters]);
    assert_eq!(with(flow("showcase")), [What::SilentTraffic, What::NoCounters]);
}

#[test]
fn only_the_audited_policy_may_have_decided() {
    let with = |digest: &str| {
        let options = Options { policy_digests: names(&[digest]), ..Options::default() };
        codes(&audit_with(&charge(), options, |_| {}))
    };
    assert_eq!(with("d1"), [What::NoCounters]);
    assert_eq!(with("d2"), [What::ForeignPolicy, What::NoCounters]);
}

#[test]
fn health_checks_are_of_the_platform() {
    let mut health = call("showcase", "payment", "/grpc.health.v1.Health/Check");
    health.iter_mut().for_each(|span| span.texts[DECISION..].iter_mut().for_each(String::clear));
    let report = audit_with(&health, Options::default(), |_| {});
    assert_eq!((codes(&report), report.platform_calls), (vec![What::NothingSeen], 1));
}

#[test]
fn coverage_can_be_demanded() {
    let options = Options { require_coverage: true, ..Options::default() };
    let report = audit_with(&charge(), options, |audit| audit.counters(counted(1)));
    assert_eq!(report.verdict, Verdict::Incomplete);
    let of = |what| report.findings.iter().filter(|finding| finding.what == what).count();
    assert_eq!((of(What::EdgeUnused), of(What::PairUntried)), (3, 2));
}

#[test]
fn little_memory_gives_the_same_report() {
    let mut spans = Vec::new();
    for trace in 0..500_u128 {
        for mut span in if trace % 50 == 0 { call("showcase", "payment", CHARGE) } else { charge() } {
            span.trace_id = (trace + 1).to_be_bytes();
            spans.push(span);
        }
    }
    let wide = audit_with(&spans, Options::default(), |_| {});
    spans.reverse();
    let narrow = audit_with(&spans, Options { memory_bytes: 0, ..Options::default() }, |_| {});
    assert_eq!(wide, narrow);
    assert_eq!(wide.findings[0].count, 10);
}

#[test]
fn the_audit_finds_what_it_plants_in_each_manner_of_spans() {
    let intent = intent();
    let run = |spans: &[OwnedSpan], options: Options| {
        let mut audit = Audit::new(&intent, options);
        spans.iter().for_each(|span| span.hand_to(&mut audit));
        audit.finish().unwrap()
    };
    let mut claimed = charge();
    claimed.iter_mut().for_each(|span| span.texts[PEER..].iter_mut().for_each(String::clear));
    let mut bound = charge();
    (bound[0].exporter, bound[1].exporter) = (identity("order"), identity("payment"));
    for (name, spans) in [("ours", charge()), ("claimed", claimed), ("bound", bound), ("none", vec![])] {
        let report = run(&spans, Options::default());
        let test = report.self_test.as_ref().unwrap();
        assert_eq!(test.missed().collect::<Vec<_>>(), Vec::<&str>::new(), "{name}: {test:#?}");
        assert_eq!(test.cases.len(), 9);
        assert_eq!(test.with_certificates, name != "claimed", "{name}");
    }
    // An audit that is told to tolerate any clock cannot find a wrong one, and says so.
    let blind = Options { skew_tolerance_ns: u64::MAX, ..Options::default() };
    let report = run(&charge(), blind);
    assert!(!report.is_sound());
    assert_eq!(report.self_test.unwrap().missed().collect::<Vec<_>>(), ["skewed clocks"]);
}

#[test]
fn a_draft_is_a_policy_file_of_what_was_seen() {
    let mut spans = charge();
    let mut odd = call("showcase", "catalog", LIST);
    odd.iter_mut().for_each(|span| span.trace_id = [9; 16]);
    // A name that tries to be more than a name.
    odd[0].service = "x\"]}\n- y".to_owned();
    odd[1].texts[PEER..].iter_mut().for_each(String::clear);
    spans.extend(odd);
    let report = audit_with(&spans, Options::default(), |_| {});
    let found = crate::learn::FoundWorkload {
        name: "payment".to_owned(),
        namespace: "shop".to_owned(),
        service_account: "pay".to_owned(),
        labels: [("app".to_owned(), "payment".to_owned())].into(),
        ports: vec![("grpc".to_owned(), 50051)],
    };
    let mut text = Vec::new();
    crate::learn::draft(&report, &[found], &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("# observed 1 times, last 1970-01-01T00:00:01.010Z; caller by certificate"), "{text}");
    assert!(text.contains("caller claimed"), "{text}");
    let documents: Vec<_> = sekat_yaml::documents("draft.yaml", &text).collect();
    let [Ok(policy)] = documents.as_slice() else { panic!("{documents:?}\n{text}") };
    let list = |key: &str| policy.get(key).unwrap().list("").unwrap();
    assert_eq!(policy.get("kind").unwrap().text(""), Ok("Policy"));
    let edges: Vec<_> = list("edges")
        .iter()
        .map(|edge| {
            let method = edge.get("methods").unwrap().list("").unwrap()[0].text("").unwrap();
            (edge.get("from").unwrap().text("").unwrap(), edge.get("to").unwrap().text("").unwrap(), method)
        })
        .collect();
    assert_eq!(edges, [("order", "payment", "shop.Pay/Charge"), ("x\"]}\n- y", "catalog", "shop.Catalog/List")]);
    let payment = list("services").iter().find(|it| it.get("name").unwrap().text("") == Ok("payment")).unwrap();
    assert_eq!(payment.at(&["ports", "grpc"]).unwrap().int(""), Ok(50051));
    assert_eq!(payment.at(&["selector", "app"]).unwrap().text(""), Ok("payment"));
}

#[test]
fn a_changed_policy_is_tried_on_what_was_recorded() {
    let report = audit_with(&charge(), Options::default(), |_| {});
    assert_eq!(crate::shadow::replay(&report, &intent()), []);
    let mut changed = intent();
    changed.edges.retain(|edge| edge.method != CHARGE);
    let denials = crate::shadow::replay(&report, &changed);
    let [denial] = denials.as_slice() else { panic!("{denials:?}") };
    assert_eq!((denial.owner.as_str(), denial.caller.as_str(), denial.calls), ("shop", "order", 1));
    let mut text = Vec::new();
    crate::shadow::render_text(&denials, &mut text).unwrap();
    let wanted = "shop: 1 calls would be denied\n  order -> payment /shop.Pay/Charge: 1 times; no edge allows it\n";
    assert_eq!(String::from_utf8(text).unwrap(), wanted);
    changed.methods.clear();
    assert_eq!(crate::shadow::replay(&report, &changed)[0].why, "the method is not in the policy");
}

#[test]
fn the_documentation_has_every_code() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/audit.md")).unwrap();
    let row = |what: &What| {
        let verdict = format!("{:?}", what.verdict()).to_uppercase();
        format!("| {} | {verdict} | {} | {} |", what.code(), what.title(), what.help())
    };
    let rows: Vec<String> = What::ALL.iter().map(row).collect();
    let written: Vec<&str> = page.lines().filter(|line| line.starts_with("| SK06")).collect();
    let rows: Vec<&str> =
        rows.iter().map(String::as_str).chain(written.iter().copied().filter(|line| line.contains("SK069"))).collect();
    assert_eq!(written, rows, "docs/audit.md should have:\n{}", rows.join("\n"));
}
