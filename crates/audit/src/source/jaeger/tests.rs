//! Against a small server that answers as Jaeger does, and against a real Jaeger where there is one.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use sekat_policy::Intent;

use super::*;
use crate::{Options, What};

/// Where Jaeger's binary is; see `cargo xtask tools`.
const JAEGER: &str = "SEKAT_JAEGER";

#[test]
fn times_are_exact_to_the_nanosecond() {
    assert_eq!(exact(1_795_677_900_000_000_001), "2026-11-26T07:25:00.000000001Z");
    assert_eq!(exact(0), "1970-01-01T00:00:01.000000000Z");
}

/// One span of a trace of its own, in OTLP's JSON.
fn span(number: u64, at_ns: u64) -> String {
    format!(
        r#"{{"traceId":"{number:032x}","spanId":"{number:016x}","name":"x","kind":1,"startTimeUnixNano":"{at_ns}","endTimeUnixNano":"{at_ns}"}}"#
    )
}

fn traces_data(spans: &[String]) -> String {
    let service = r#"{"attributes":[{"key":"service.name","value":{"stringValue":"order"}}]}"#;
    format!(
        r#"{{"resourceSpans":[{{"resource":{service},"scopeSpans":[{{"scope":{{}},"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    )
}

/// A server of traces at these times (in µs since `BEGIN_US`) that silently shows at most as many as it is asked for.
/// It ends with the test's process.
fn server(times: Vec<u64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &times);
        }
    });
    format!("http://{address}")
}

const BEGIN_US: u64 = 1_795_677_900_000_000;

fn answer(stream: TcpStream, times: &[u64]) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let target = head.split(' ').nth(1).unwrap().replace("%3A", ":");
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let (status, body) = reply(path, &query, times);
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        reader.get_mut().write_all(text.as_bytes()).unwrap();
    }
}

fn reply(path: &str, query: &BTreeMap<&str, &str>, times: &[u64]) -> (&'static str, String) {
    let inside = |from: u64, to: u64, limit: &str| {
        let hit = times.iter().enumerate().filter(move |(_, at)| (from..to).contains(&(BEGIN_US + **at)));
        hit.take(limit.parse().unwrap())
            .map(|(index, at)| (u64::try_from(index).unwrap() + 1, BEGIN_US + at))
            .collect::<Vec<_>>()
    };
    match path {
        "/api/services" => ("200 OK", r#"{"data":["order"]}"#.to_owned()),
        "/api/traces" => {
            let shown = inside(query["start"].parse().unwrap(), query["end"].parse().unwrap(), query["limit"]);
            let traces = shown.iter().map(|(number, at)| {
                format!(r#"{{"traceID":"{number:x}","spans":[{{"traceID":"{number:x}","spanID":"{number:x}","processID":"p1","startTime":{at}}}],"processes":{{"p1":{{"serviceName":"order"}}}}}}"#)
            });
            ("200 OK", format!(r#"{{"data":[{}]}}"#, traces.collect::<Vec<_>>().join(",")))
        }
        "/api/v3/traces" => {
            assert_eq!(query["query.raw_traces"], "true");
            // Fixed dates: only the part after the minute changes.
            let us = |text: &str| {
                let number = |place: Range<usize>| text[place].parse::<u64>().unwrap();
                BEGIN_US + ((number(14..16) - 25) * 60 + number(17..19)) * 1_000_000 + number(20..26)
            };
            let [from, to] = ["query.start_time_min", "query.start_time_max"].map(|key| us(query[key]));
            let shown = inside(from, to, query["query.num_traces"]);
            if shown.is_empty() {
                return ("404 Not Found", r#"{"error":{"httpCode":404,"message":"No traces found"}}"#.to_owned());
            }
            let spans: Vec<String> = shown.iter().map(|(number, at)| span(*number, at * 1_000)).collect();
            let (one, other) = spans.split_at(spans.len() / 2);
            let result = |spans: &[String]| format!(r#"{{"result":{}}}"#, traces_data(spans));
            ("200 OK", format!("{}\n{}", result(one), result(other)))
        }
        _ => ("500 Internal Server Error", "no".to_owned()),
    }
}

/// Spans that arrive, and whether the audit was told that there are more.
fn reading(base: &str, api: Api, limit: usize) -> (u64, bool) {
    let intent = Intent::default();
    let mut audit = Audit::new(&intent, Options::default());
    let window_ns = BEGIN_US * 1_000..(BEGIN_US + 60_000_000) * 1_000;
    read(&Query { base: base.to_owned(), window_ns, api, limit }, &mut audit).unwrap();
    let report = audit.finish().unwrap();
    let distinct = report.spans_read - report.duplicates;
    (distinct, report.findings.iter().any(|finding| finding.what == What::Truncated))
}

#[test]
fn a_limit_that_nobody_mentions_hides_nothing() {
    let times: Vec<u64> = (0..100).map(|index| index * index * 5_000).collect();
    let base = server(times);
    for api in [Api::V3, Api::V1] {
        assert_eq!(reading(&base, api, 10), (100, false), "{api:?}");
        assert_eq!(reading(&base, api, 1_000), (100, false), "{api:?}");
    }
}

#[test]
fn what_lies_in_one_moment_and_is_too_much_is_told() {
    let base = server(vec![7; 20]);
    for api in [Api::V3, Api::V1] {
        assert_eq!(reading(&base, api, 10), (10, true), "{api:?}");
    }
}

#[test]
fn who_does_not_answer_is_an_error() {
    let intent = Intent::default();
    let mut audit = Audit::new(&intent, Options::default());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let query = Query { base: format!("http://{free}"), window_ns: 1..9, api: Api::V3, limit: 0 };
    assert!(matches!(read(&query, &mut audit), Err(JaegerError::Http(_))));
    let base = format!("{}/elsewhere", server(vec![]));
    let error = read(&Query { base, ..query }, &mut audit).unwrap_err();
    assert!(error.to_string().contains("status 500"), "{error}");
}

/// A Jaeger that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_jaeger_gives_all_that_it_got() {
    let Some(binary) = std::env::var(JAEGER).ok().filter(|binary| !binary.is_empty()) else {
        let lost = format!("NOT RUN: the audit of a real Jaeger. Set {JAEGER} to a Jaeger v2 binary");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{lost}");
        // Not `eprintln!`: of a test that passes nobody would see it.
        writeln!(std::io::stderr(), "\n######## {lost} ########\n").unwrap();
        return;
    };
    const TRACES: u64 = 300;
    let listeners: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let [query, grpc, health, otlp, otlp_grpc] = [0, 1, 2, 3, 4].map(|index| listeners[index].local_addr().unwrap());
    drop(listeners);
    let set = |key: &str, value: &str| format!("--set={key}={value}");
    let child = Command::new(binary)
        .arg(set("extensions.jaeger_query.http.endpoint", &query.to_string()))
        .arg(set("extensions.jaeger_query.grpc.endpoint", &grpc.to_string()))
        .arg(set("extensions.jaeger_query.enable_tracing", "false"))
        .arg(set("extensions.healthcheckv2.http.endpoint", &health.to_string()))
        .arg(set("receivers.otlp.protocols.http.endpoint", &otlp.to_string()))
        .arg(set("receivers.otlp.protocols.grpc.endpoint", &otlp_grpc.to_string()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _running = Running(child);
    let spans: Vec<String> = (1..=TRACES).map(|number| span(number, (BEGIN_US + number * 100) * 1_000)).collect();
    let message = traces_data(&spans);
    let begun = Instant::now();
    let limit = Duration::from_secs(60);
    let until = |what: &str, done: &dyn Fn() -> bool| {
        while !done() {
            assert!(begun.elapsed() < limit, "not in time: {what}");
            std::thread::yield_now();
        }
    };
    until("Jaeger takes spans", &|| {
        let sent = ureq::post(format!("http://{otlp}/v1/traces")).header("content-type", "application/json");
        sent.send(message.as_bytes()).is_ok()
    });
    let base = format!("http://{query}");
    until("Jaeger shows them", &|| reading(&base, Api::V3, 1_000).0 == TRACES);
    for api in [Api::V3, Api::V1] {
        assert_eq!(reading(&base, api, 1_000), (TRACES, false), "{api:?}");
        assert_eq!(reading(&base, api, 7), (TRACES, false), "{api:?}");
    }
}
