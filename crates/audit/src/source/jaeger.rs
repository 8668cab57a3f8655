//! Spans out of a Jaeger, over its HTTP: API v3 (OTLP in JSON), and v1 for older ones. Both take a limit, apply it
//! silently and have no pages, so that time is sliced until two halvings agree. Raw traces are asked for: else Jaeger
//! moves clocks.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use super::otlp_json::{NotOtlpJson, Traces};
use super::slices::{self, Answer};
use super::{files::MESSAGE_BYTES, jaeger_v1};
use crate::audit::Audit;
use crate::time::utc;

/// Traces of one answer: small enough that Jaeger does not strain, and one answer fits into memory.
const TRACES: usize = 500;
/// For one question.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Which of Jaeger's interfaces is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/api/v3/traces`.
    V3,
    /// `/api/traces`, service by service.
    V1,
}

/// What is read, and where.
#[derive(Clone, Debug)]
pub struct Query {
    /// Where Jaeger answers HTTP, for instance `http://127.0.0.1:16686`.
    pub base: String,
    /// From when to when, in nanoseconds since the Unix epoch.
    pub window_ns: Range<u64>,
    /// The interface.
    pub api: Api,
    /// Traces of one answer; 0 for the default.
    pub limit: usize,
}

/// Jaeger could not be read.
#[derive(Debug)]
pub enum JaegerError {
    /// It did not answer, or not as asked.
    Http(Box<ureq::Error>),
    /// Its answer cannot be read.
    Answer(String),
    /// What it answered is not what its interface says.
    Malformed(NotOtlpJson),
}

impl fmt::Display for JaegerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(_) => f.write_str("Jaeger did not answer as asked"),
            Self::Answer(why) => write!(f, "Jaeger's answer is not what its interface says: {why}"),
            Self::Malformed(_) => f.write_str("Jaeger's answer is not what its interface says"),
        }
    }
}

impl std::error::Error for JaegerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Http(error) => Some(error.as_ref()),
            Self::Answer(_) => None,
            Self::Malformed(error) => Some(error),
        }
    }
}

impl From<NotOtlpJson> for JaegerError {
    fn from(error: NotOtlpJson) -> Self {
        Self::Malformed(error)
    }
}

/// Hands all spans of a window to the audit. Slices that stay incomplete are findings of the audit.
///
/// # Errors
/// If Jaeger does not answer, or not as its interface says.
pub fn read(query: &Query, audit: &mut Audit<'_>) -> Result<u64, JaegerError> {
    let client = Client::new(&query.base);
    let limit = if query.limit == 0 { TRACES } else { query.limit };
    match query.api {
        Api::V3 => read_v3(&client, query, limit, audit),
        Api::V1 => {
            let mut spans = 0;
            for service in client.services()? {
                spans += read_v1(&client, &service, query, limit, audit)?;
            }
            Ok(spans)
        }
    }
}

fn read_v3(client: &Client, query: &Query, limit: usize, audit: &mut Audit<'_>) -> Result<u64, JaegerError> {
    let mut spans = 0;
    let mut ask = |slice: &Range<u64>| {
        let payload = client.v3(slice, limit)?;
        let traces = traces_of(&payload)?;
        Ok(Answer { traces, payload })
    };
    let mut take = |payload: String| {
        spans += hand_over(&payload, audit)?;
        Ok::<_, JaegerError>(())
    };
    let truncated = slices::read(query.window_ns.clone(), limit, &mut ask, &mut take)?;
    note_truncated(audit, &query.base, truncated);
    Ok(spans)
}

fn read_v1(
    client: &Client,
    service: &str,
    query: &Query,
    limit: usize,
    audit: &mut Audit<'_>,
) -> Result<u64, JaegerError> {
    let mut spans = 0;
    // This interface counts microseconds.
    let window = query.window_ns.start / 1_000..query.window_ns.end.div_ceil(1_000);
    let mut ask = |slice: &Range<u64>| {
        let payload = client.v1(service, slice, limit)?;
        let traces = jaeger_v1::traces(&payload).map_err(JaegerError::Answer)?;
        Ok(Answer { traces, payload })
    };
    let mut take = |payload: String| {
        spans += jaeger_v1::decode(&payload, audit).map_err(JaegerError::Answer)?;
        Ok::<_, JaegerError>(())
    };
    let truncated = slices::read(window, limit, &mut ask, &mut take)?;
    let in_ns = truncated.into_iter().map(|slice| slice.start * 1_000..slice.end * 1_000).collect();
    note_truncated(audit, &query.base, in_ns);
    Ok(spans)
}

fn note_truncated(audit: &mut Audit<'_>, base: &str, truncated: slices::Truncated) {
    for slice in truncated {
        audit.source_is_truncated(format!("{base} has more at {} than it shows at once", utc(slice.start)));
    }
}

/// The traces of an answer of API v3.
fn traces_of(payload: &str) -> Result<slices::Traces, JaegerError> {
    let mut traces = slices::Traces::new();
    for_each_result(payload, |result| {
        for id in result.trace_ids() {
            let id = id.ok_or_else(|| JaegerError::Answer("a trace id is not in hexadecimal".to_owned()))?;
            *traces.entry(id).or_default() += 1;
        }
        Ok(())
    })?;
    Ok(traces)
}

fn hand_over(payload: &str, audit: &mut Audit<'_>) -> Result<u64, JaegerError> {
    let mut spans = 0;
    for_each_result(payload, |result| Ok(result.each("", audit, &mut |_| spans += 1)?))?;
    Ok(spans)
}

/// API v3 streams its results as JSON objects one after another, each `{"result": TracesData}`.
fn for_each_result(
    payload: &str,
    mut take: impl FnMut(&Traces<'_>) -> Result<(), JaegerError>,
) -> Result<(), JaegerError> {
    #[derive(serde::Deserialize)]
    struct Streamed<'a> {
        #[serde(borrow)]
        result: Traces<'a>,
    }
    for streamed in serde_json::Deserializer::from_str(payload).into_iter::<Streamed<'_>>() {
        take(&streamed.map_err(NotOtlpJson::Json)?.result)?;
    }
    Ok(())
}

struct Client<'a> {
    agent: ureq::Agent,
    base: &'a str,
}

impl<'a> Client<'a> {
    fn new(base: &'a str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        Self { agent: ureq::Agent::new_with_config(config), base: base.trim_end_matches('/') }
    }

    fn v3(&self, slice: &Range<u64>, limit: usize) -> Result<String, JaegerError> {
        let (limit, start, end) = (limit.to_string(), exact(slice.start), exact(slice.end));
        self.get(
            "/api/v3/traces",
            &[
                ("query.start_time_min", &start),
                ("query.start_time_max", &end),
                ("query.num_traces", &limit),
                ("query.raw_traces", "true"),
            ],
        )
    }

    fn v1(&self, service: &str, slice: &Range<u64>, limit: usize) -> Result<String, JaegerError> {
        let (start, end, limit) = (slice.start.to_string(), slice.end.to_string(), limit.to_string());
        let query = [("service", service), ("start", &start), ("end", &end), ("limit", &limit), ("raw", "true")];
        self.get("/api/traces", &query)
    }

    fn services(&self) -> Result<Vec<String>, JaegerError> {
        #[derive(serde::Deserialize)]
        struct Services {
            data: Option<Vec<String>>,
        }
        let text = self.get("/api/services", &[])?;
        let services: Services = serde_json::from_str(&text).map_err(|error| JaegerError::Answer(error.to_string()))?;
        Ok(services.data.unwrap_or_default())
    }

    /// The body of an answer; empty where Jaeger says that nothing was found.
    fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String, JaegerError> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (key, value) in query {
            request = request.query(key, value);
        }
        let mut response = request.call().map_err(|error| JaegerError::Http(Box::new(error)))?;
        let limit = u64::try_from(MESSAGE_BYTES).unwrap_or(u64::MAX) * 4;
        let body = response.body_mut().with_config().limit(limit).read_to_string();
        let body = body.map_err(|error| JaegerError::Http(Box::new(error)))?;
        match response.status().as_u16() {
            200 => Ok(body),
            404 => Ok(String::new()),
            status => {
                Err(JaegerError::Answer(format!("status {status}: {}", body.chars().take(200).collect::<String>())))
            }
        }
    }
}

/// A time in RFC 3339 to the nanosecond.
fn exact(ns: u64) -> String {
    let seconds = utc((ns - ns % 1_000_000_000).max(1_000_000_000));
    let whole = seconds.split('.').next().unwrap_or_default().to_owned();
    format!("{whole}.{:09}Z", ns % 1_000_000_000)
}

#[cfg(test)]
mod tests;
