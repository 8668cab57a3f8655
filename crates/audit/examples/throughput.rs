//! How many spans a second the audit takes on one core, from an OTLP protobuf file to the report, and how much memory
//! it holds. The spans are made by a generator that always makes the same ones.
//!
//! `cargo run --release -p sekat-audit --example throughput -- 4000000`

use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
use prost::Message as _;
use sekat_audit::{Audit, Options, source};
use sekat_policy::Intent;
use sekat_policy::intent::{Audience, Edge, Method, Place, Port, Protocol, Workload};

/// Workloads, each of which calls the next five.
const WORKLOADS: usize = 20;
const CALLEES: usize = 5;
/// Calls of a trace; each has two halves and a span of work within.
const CALLS: usize = 10;
/// Spans of a message, as exporters batch them.
const BATCH: usize = 500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spans: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |count| count.parse())?;
    let file = tempfile::Builder::new().suffix(".otlp").tempfile()?;
    generate(file.path(), spans)?;
    let bytes = file.as_file().metadata()?.len();
    let intent = intent();
    let options = Options::default();
    let (begin, begin_cpu) = (Instant::now(), cpu_ns());
    let mut audit = Audit::new(&intent, options);
    let (read, diagnostics) = source::files::read(file.path(), &mut audit);
    let (reading, reading_cpu) = (begin.elapsed(), cpu_ns() - begin_cpu);
    let report = audit.finish()?;
    let (all, all_cpu) = (begin.elapsed(), cpu_ns() - begin_cpu);
    let mut out = std::io::stdout().lock();
    for diagnostic in diagnostics {
        writeln!(out, "{diagnostic}")?;
    }
    writeln!(out, "spans\t{read}\tbytes\t{bytes}\tcalls\t{}\tverdict\t{:?}", report.calls, report.verdict)?;
    // By CPU time: on a machine that is shared, the time on the wall says how busy the others are.
    let rate = |cpu_ns: u64| u128::from(read) * 1_000_000_000 / u128::from(cpu_ns.max(1));
    writeln!(out, "reading\t{reading:.3?}\t{} spans per CPU second", rate(reading_cpu))?;
    writeln!(out, "whole\t{all:.3?}\t{} spans per CPU second", rate(all_cpu))?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown");
    writeln!(out, "peak memory\t{}", peak.trim())?;
    for finding in &report.findings {
        writeln!(out, "{}\t{}\t{}", finding.code, finding.count, finding.title)?;
    }
    Ok(())
}

/// How long this thread was on a CPU, in nanoseconds, as Linux counts it.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

fn name(index: usize) -> String {
    format!("workload-{}", index % WORKLOADS)
}

fn path(callee: usize) -> String {
    format!("/shop.workload{}.v1.WorkloadService/Handle", callee % WORKLOADS)
}

fn identity(index: usize) -> String {
    format!("spiffe://shop.example/{}", name(index))
}

fn intent() -> Intent {
    let workload = |index| Workload {
        name: name(index),
        domain: "shop".to_owned(),
        identity: identity(index),
        place: Place::default(),
        ports: vec![Port { name: "grpc".to_owned(), number: 1, protocol: Protocol::Tcp, audience: Audience::Callers }],
        span: sekat_policy::Span::default(),
    };
    let method = |index| Method {
        path: path(index),
        workload: name(index),
        port: "grpc".to_owned(),
        request: sekat_policy::intent::Classes::new(),
        response: sekat_policy::intent::Classes::new(),
        span: sekat_policy::Span::default(),
    };
    let edges = (0..WORKLOADS).flat_map(|caller| (1..=CALLEES).map(move |step| (caller, caller + step)));
    let edge = |(caller, callee)| Edge {
        caller: name(caller),
        method: path(callee),
        purpose: None,
        span: sekat_policy::Span::default(),
    };
    Intent {
        workloads: (0..WORKLOADS).map(workload).collect(),
        methods: (0..WORKLOADS).map(method).collect(),
        edges: edges.map(edge).collect(),
        ..Intent::default()
    }
}

/// A generator of numbers that anybody can write again: Steele's SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or_default()
    }
}

fn text(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value)) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn number(key: &str, value: i64) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::IntValue(value)) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Writes that many spans, or a few more, in this mesh's form: a queue a process, a message when it is full.
fn generate(path_of_file: &Path, spans: usize) -> std::io::Result<()> {
    let mut numbers = Numbers(1);
    let mut file = BufWriter::with_capacity(1 << 20, std::fs::File::create(path_of_file)?);
    let mut queues: Vec<Vec<Span>> = vec![Vec::new(); WORKLOADS];
    let mut now = 1_795_677_900_000_000_000;
    for _ in 0..spans.div_ceil(CALLS * 3) {
        let trace = [numbers.next().to_be_bytes(), numbers.next().to_be_bytes()].concat();
        let (mut caller, mut parent) = (numbers.below(WORKLOADS), Vec::new());
        for depth in 0..CALLS {
            let callee = (caller + 1 + numbers.below(CALLEES)) % WORKLOADS;
            let [client, server, work] = [(); 3].map(|()| numbers.next().to_be_bytes().to_vec());
            let at = now + depth as u64 * 1_000_000;
            push(&mut queues, caller, half(&trace, &client, parent, 3, (caller, callee), at));
            push(&mut queues, callee, half(&trace, &server, client, 2, (caller, callee), at + 100_000));
            let inner = Span {
                name: "work".to_owned(),
                kind: 1,
                attributes: Vec::new(),
                ..half(&trace, &work, server.clone(), 1, (caller, callee), at + 200_000)
            };
            push(&mut queues, callee, inner);
            (caller, parent) = (callee, server);
        }
        now += 50_000;
        for (index, queue) in queues.iter_mut().enumerate().filter(|(_, queue)| queue.len() >= BATCH) {
            write(&mut file, index, std::mem::take(queue))?;
        }
    }
    for (index, queue) in queues.into_iter().enumerate() {
        write(&mut file, index, queue)?;
    }
    file.flush()
}

fn push(queues: &mut [Vec<Span>], workload: usize, span: Span) {
    if let Some(queue) = queues.get_mut(workload) {
        queue.push(span);
    }
}

fn half(trace: &[u8], id: &[u8], parent: Vec<u8>, kind: i32, (caller, callee): (usize, usize), at: u64) -> Span {
    let path = path(callee);
    let name = path.trim_start_matches('/');
    let mut attributes = vec![
        text("rpc.system", "grpc".to_owned()),
        text("rpc.system.name", "grpc".to_owned()),
        text("rpc.service", name.split('/').next().unwrap_or_default().to_owned()),
        text("rpc.method", name.to_owned()),
        text("sekat.data_class", "PUBLIC".to_owned()),
        number("rpc.grpc.status_code", 0),
        text("rpc.response.status_code", "OK".to_owned()),
    ];
    if kind == 2 {
        attributes.push(text("sekat.policy.digest", "0123456789abcdef0123456789abcdef".to_owned()));
        attributes.push(text("sekat.domain", "shop".to_owned()));
        attributes.push(text("sekat.decision", "allow".to_owned()));
    }
    attributes.push(text("sekat.peer.id", identity(if kind == 2 { caller } else { callee })));
    Span {
        trace_id: trace.to_vec(),
        span_id: id.to_vec(),
        parent_span_id: parent,
        flags: if kind == 2 { 0x301 } else { 0x101 },
        name: name.to_owned(),
        kind,
        start_time_unix_nano: at,
        end_time_unix_nano: at + 900_000 - 300_000 * u64::from(kind == 2),
        attributes,
        ..Span::default()
    }
}

fn write(file: &mut impl std::io::Write, index: usize, spans: Vec<Span>) -> std::io::Result<()> {
    let attributes = vec![
        text("service.name", name(index)),
        text("service.instance.id", format!("{}-1", name(index))),
        text("sekat.domain", "shop".to_owned()),
    ];
    let message = TracesData {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec();
    file.write_all(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes())?;
    file.write_all(&message)
}
