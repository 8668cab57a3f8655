//! An audit that finds nothing says little until it has shown that it can find something. Faults are planted in a copy
//! of the spans, in the manner in which these spans are written; each must be found, at the place where it was planted.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::ops::Range;

use sekat_policy::Intent;
use sekat_policy::intent::{Audience, Domain, Edge, Method, Place, Port, Protocol, Workload};
use serde::Serialize;

use crate::audit::Audit;
use crate::dialect::{self, Role};
use crate::finding::{Verdict, What};
use crate::input::{Count, Counters};
use crate::options::Options;
use crate::report::Report;
use crate::sample::{OwnedSpan, PEER, Sample};
use crate::source::slices::{self, Answer};
use crate::span::{Attributes, Hex, Kind};

mod stage;

use stage::Stage;

/// What the audit made of faults that were planted on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SelfTest {
    /// Spans of the audited traffic in which they were planted.
    pub spans: usize,
    /// Whether these spans say what certificates their servers saw. Where they do not, a caller is at best claimed, and
    /// it is enough that no planted call passes for proven.
    pub with_certificates: bool,
    /// Each fault.
    pub cases: Vec<Case>,
}

/// A planted fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// What was planted.
    pub fault: &'static str,
    /// Whether it was found.
    pub found: bool,
    /// By which finding, or what was found instead.
    pub by: String,
}

impl SelfTest {
    /// The faults that were not found.
    pub fn missed(&self) -> impl Iterator<Item = &'static str> {
        self.cases.iter().filter(|case| !case.found).map(|case| case.fault)
    }
}

/// Plants every fault in a copy of `sample` and looks whether the audit finds it.
pub(crate) fn run(intent: &Intent, options: &Options, sample: Sample, certificates: bool) -> io::Result<SelfTest> {
    let fallback;
    let intent = if Stage::choose(intent, options).is_some() {
        intent
    } else {
        // A policy without a single edge between two workloads leaves nothing to plant in.
        fallback = smallest();
        &fallback
    };
    let spans = sample.spans;
    let Some(stage) = Stage::choose(intent, options) else {
        return Err(io::Error::other("the smallest policy has no edge"));
    };
    // Without traffic the spans of this mesh are the measure.
    let stage = stage.in_the_manner_of(&spans, certificates || spans.is_empty());
    let test = Test { intent, options, spans: &spans, stage };
    let cases = vec![
        test.nothing_planted()?,
        test.forged_parent()?,
        test.spoofed_service()?,
        test.hidden_caller()?,
        test.two_contents()?,
        test.rogue_edge()?,
        test.dropped_batch()?,
        test.skewed_clocks()?,
        test.truncated_query(),
    ];
    Ok(SelfTest { spans: spans.len(), with_certificates: test.stage.certificates, cases })
}

struct Test<'a> {
    intent: &'a Intent,
    options: &'a Options,
    spans: &'a [OwnedSpan],
    stage: Stage<'a>,
}

/// Findings of a call whose caller no certificate names.
const UNPROVEN: [What; 3] = [What::ClaimedCaller, What::ClaimAccepted, What::UnknownCaller];

impl Test<'_> {
    fn audit(&self, planted: &[OwnedSpan], counters: Option<Counters>) -> io::Result<Report> {
        let options = Options { self_test: false, require_coverage: false, ..self.options.clone() };
        let mut audit = Audit::new(self.intent, options);
        if let Some(counters) = counters {
            audit.counters(counters);
        }
        for span in self.spans.iter().chain(planted) {
            span.hand_to(&mut audit);
        }
        audit.finish()
    }

    /// Whether one of `expected` names `span` as a witness. Planted spans are the earliest, so they are always kept.
    fn found(
        &self,
        fault: &'static str,
        planted: &[OwnedSpan],
        span: &OwnedSpan,
        expected: &[What],
    ) -> io::Result<Case> {
        let report = self.audit(planted, None)?;
        let id = Hex(&span.span_id).to_string();
        let naming = || {
            let names = |finding: &&crate::Finding| finding.witnesses.iter().any(|witness| witness.span_id == id);
            report.findings.iter().filter(names)
        };
        let hit = naming().find(|finding| expected.contains(&finding.what));
        let by = hit.map_or_else(
            || naming().map(|finding| finding.code).collect::<Vec<_>>().join(" "),
            |finding| finding.code.to_owned(),
        );
        Ok(Case { fault, found: hit.is_some(), by })
    }

    /// The twin of all others: a good call is not taken for a fault.
    fn nothing_planted(&self) -> io::Result<Case> {
        let pair = self.stage.pair(1);
        let report = self.audit(&pair, None)?;
        let ids = pair.each_ref().map(|span| Hex(&span.span_id).to_string());
        let accused = report.findings.iter().filter(|finding| {
            let proven = self.stage.certificates || !UNPROVEN.contains(&finding.what);
            proven && finding.witnesses.iter().any(|witness| ids.contains(&witness.span_id))
        });
        let by = accused.map(|finding| finding.code).collect::<Vec<_>>().join(" ");
        Ok(Case { fault: "a good call, which is no fault", found: by.is_empty(), by })
    }

    fn forged_parent(&self) -> io::Result<Case> {
        let pair = self.stage.pair(1);
        let [client, server] = &pair;
        let mut forged = OwnedSpan { span_id: [0xf1; 8], parent_id: client.span_id, ..server.clone() };
        if self.stage.certificates {
            forged.texts[PEER] = self.stage.stranger.to_owned();
        }
        let planted = [client.clone(), server.clone(), forged.clone()];
        let expected: &[What] = if self.stage.certificates { &[What::ForgedParent] } else { &UNPROVEN };
        self.found("a forged parent", &planted, &forged, expected)
    }

    fn spoofed_service(&self) -> io::Result<Case> {
        let good = self.stage.pair(1);
        let [client, mut server] = self.stage.pair(2);
        server.service = self.stage.other_service.to_owned();
        let planted = [good[0].clone(), good[1].clone(), client, server.clone()];
        let expected = [What::SpoofedExporter, What::WrongServer, What::UnknownCallee];
        self.found("a spoofed service.name", &planted, &server, &expected)
    }

    fn hidden_caller(&self) -> io::Result<Case> {
        let [_, mut server] = self.stage.pair(1);
        server.texts[PEER].clear();
        server.parent_id = [0; 8];
        let planted = [server.clone()];
        self.found("a hidden caller", &planted, &server, &[What::HiddenCaller, What::UnknownCaller])
    }

    fn two_contents(&self) -> io::Result<Case> {
        let [client, server] = self.stage.pair(1);
        let other = OwnedSpan { end_ns: server.end_ns + 1, ..server.clone() };
        let planted = [client, server, other.clone()];
        self.found("a span id with two contents", &planted, &other, &[What::ConflictingSpan])
    }

    fn rogue_edge(&self) -> io::Result<Case> {
        let planted = self.stage.rogue_pair(1);
        self.found("a rogue edge", &planted, &planted[1], &[What::ForbiddenCall])
    }

    /// The counters of the callee as they would be if nothing were lost, counted here and not by the audit.
    fn dropped_batch(&self) -> io::Result<Case> {
        let mut planted: Vec<OwnedSpan> = (1..=5).flat_map(|number| self.stage.pair(number)).collect();
        let mut counted: BTreeMap<(String, String, String), u64> = BTreeMap::new();
        for span in self.spans.iter().chain(&planted) {
            if let Some(key) = self.stage.counted(span) {
                *counted.entry(key).or_default() += 1;
            }
        }
        let served = counted
            .into_iter()
            .map(|((caller, method, status), count)| Count { caller, method, status, count })
            .collect();
        let workload = self.stage.callee.to_owned();
        let counters = Counters { workload, to_ns: u64::MAX, served, ..Counters::default() };
        // The last three calls were in one batch of the server.
        let mut servers = 0;
        planted.retain(|span| {
            servers += usize::from(span.kind == Kind::Server);
            span.kind != Kind::Server || servers <= 2
        });
        let report = self.audit(&planted, Some(counters))?;
        let hit = report.findings.iter().find(|finding| {
            finding.what == What::MissingSpans && finding.method == self.stage.method && finding.count >= 3
        });
        let by = hit.map_or_else(String::new, |finding| finding.code.to_owned());
        Ok(Case { fault: "a dropped batch", found: hit.is_some(), by })
    }

    fn skewed_clocks(&self) -> io::Result<Case> {
        const HOUR_NS: u64 = 3_600_000_000_000;
        let [client, mut server] = self.stage.pair(1);
        let hours = 1 + self.options.skew_tolerance_ns / HOUR_NS;
        server.start_ns = server.start_ns.saturating_add(hours.saturating_mul(HOUR_NS));
        server.end_ns = server.end_ns.saturating_add(hours.saturating_mul(HOUR_NS));
        // One witness per pair of workloads: this one must be the earliest.
        let planted = [client, server.clone()];
        let mut case = self.found("skewed clocks", &planted, &server, &[What::ClockSkew])?;
        // Skew must not make a caller's own call look forged.
        let report = self.audit(&planted, None)?;
        let id = Hex(&server.span_id).to_string();
        let accused = report.findings.iter().any(|finding| {
            finding.verdict == Verdict::Violated && finding.witnesses.iter().any(|witness| witness.span_id == id)
        });
        case.found &= !accused;
        Ok(case)
    }

    /// A store that silently shows at most three traces, filled with the sample and with planted ones at the moments at
    /// which they began, and one that cannot show more than three whatever is asked.
    fn truncated_query(&self) -> Case {
        const LIMIT: usize = 3;
        let planted = (1..=20).flat_map(|number| self.stage.pair(number));
        let mut stored: BTreeMap<[u8; 16], u64> = BTreeMap::new();
        let mut moments: BTreeMap<u64, usize> = BTreeMap::new();
        for span in self.spans.iter().take(200).cloned().chain(planted) {
            // What no store can show apart is left out.
            if !stored.contains_key(&span.trace_id) && moments.get(&span.start_ns).is_none_or(|same| same + 1 < LIMIT) {
                stored.insert(span.trace_id, span.start_ns);
                *moments.entry(span.start_ns).or_default() += 1;
            }
        }
        let last = moments.last_key_value().map_or(1, |(last, _)| last + 1);
        let answer = |slice: &Range<u64>, blind: bool| {
            let shown = stored.iter().filter(|(_, began)| blind || slice.contains(began)).take(LIMIT);
            let traces: slices::Traces = shown.map(|(trace, _)| (*trace, 1)).collect();
            Ok::<_, Infallible>(Answer { payload: traces.clone(), traces })
        };
        let mut came = slices::Traces::new();
        let mut take = |traces| {
            came.extend::<slices::Traces>(traces);
            Ok(())
        };
        let Ok(truncated) = slices::read(0..last, LIMIT, &mut |slice| answer(slice, false), &mut take);
        let complete = !truncated.is_empty() || came.len() == stored.len();
        let Ok(blind) = slices::read(0..LIMIT as u64, LIMIT, &mut |slice| answer(slice, true), &mut |_| Ok(()));
        let found = complete && !blind.is_empty();
        let by = format!("{} of {} traces, {} slices named as truncated", came.len(), stored.len(), blind.len());
        Case { fault: "a truncated query", found, by }
    }
}

/// Two workloads and one edge.
fn smallest() -> Intent {
    let workload = |name: &str| Workload {
        name: format!("sekat-self-test-{name}"),
        domain: "sekat-self-test".to_owned(),
        identity: format!("spiffe://self-test.invalid/{name}"),
        place: Place::default(),
        ports: vec![Port { name: "grpc".to_owned(), number: 1, protocol: Protocol::Tcp, audience: Audience::Callers }],
        span: sekat_policy::Span::default(),
    };
    let path = "/sekat.selftest.v1.SelfTest/Call".to_owned();
    Intent {
        domains: vec![Domain {
            name: "sekat-self-test".to_owned(),
            trust_domain: "self-test.invalid".to_owned(),
            may_hold: sekat_policy::intent::Classes::new(),
            span: sekat_policy::Span::default(),
        }],
        workloads: vec![workload("caller"), workload("callee")],
        methods: vec![Method {
            path: path.clone(),
            workload: "sekat-self-test-callee".to_owned(),
            port: "grpc".to_owned(),
            request: sekat_policy::intent::Classes::new(),
            response: sekat_policy::intent::Classes::new(),
            span: sekat_policy::Span::default(),
        }],
        edges: vec![Edge {
            caller: "sekat-self-test-caller".to_owned(),
            method: path,
            purpose: None,
            span: sekat_policy::Span::default(),
        }],
        ..Intent::default()
    }
}
