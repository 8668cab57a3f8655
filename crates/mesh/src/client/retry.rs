//! Retries as the contract's gRPC service config states them (gRFC A6): which codes, how often, how long between,
//! and a budget that stops retrying a callee which fails most of the time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tonic::Code;

/// A6: a client may cap the attempts.
const MOST_ATTEMPTS: u32 = 5;
/// A6: pauses vary by a fifth in both directions.
const SPREAD_PERCENT: u32 = 20;
/// The budget where the service config states none: A6's example.
const DEFAULT_TOKENS: f64 = 10.0;
const DEFAULT_RATIO: f64 = 0.1;
/// Before a call is sent anew that did not leave; times the number of tries.
const UNSENT_PAUSE: Duration = Duration::from_millis(2);

/// The parts of a service config that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceConfig {
    #[serde(default)]
    method_config: Vec<MethodConfig>,
    retry_throttling: Option<Throttling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MethodConfig {
    #[serde(default)]
    name: Vec<Name>,
    retry_policy: Option<RetryConfig>,
}

/// Which methods: one, all of a service, or all.
#[derive(Deserialize)]
struct Name {
    #[serde(default)]
    service: String,
    #[serde(default)]
    method: String,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetryConfig {
    max_attempts: u32,
    initial_backoff: Seconds,
    max_backoff: Seconds,
    backoff_multiplier: f64,
    retryable_status_codes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    max_tokens: f64,
    token_ratio: f64,
}

/// A protobuf `Duration` in JSON: `0.05s`.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Seconds(Duration);

impl TryFrom<String> for Seconds {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        duration.map(Self).ok_or("a duration is a number of seconds and an s")
    }
}

impl ServiceConfig {
    pub(super) fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(if json.is_empty() { "{}" } else { json })
    }

    /// The policy of the method with this path: the most exact name wins.
    pub(super) fn retry_policy(&self, path: &str) -> Option<RetryPolicy> {
        let (service, method) = path.trim_start_matches('/').split_once('/')?;
        let names = self.method_config.iter().flat_map(|config| config.name.iter().map(move |name| (name, config)));
        let ranked = names.filter_map(|(name, config)| {
            let rank = match (name.service.as_str(), name.method.as_str()) {
                (s, m) if s == service && m == method => 3,
                (s, "") if s == service => 2,
                ("", "") => 1,
                _ => return None,
            };
            Some((rank, config))
        });
        let (_, config) = ranked.max_by_key(|(rank, _)| *rank)?;
        config.retry_policy.clone().map(RetryPolicy)
    }

    pub(super) fn budget(&self) -> Budget {
        let stated = self.retry_throttling.as_ref();
        let (tokens, ratio) = stated.map_or((DEFAULT_TOKENS, DEFAULT_RATIO), |t| (t.max_tokens, t.token_ratio));
        Budget::new(tokens, ratio)
    }
}

/// When and how often a method's call is repeated.
pub(super) struct RetryPolicy(RetryConfig);

impl RetryPolicy {
    pub(super) fn max_attempts(&self) -> u32 {
        self.0.max_attempts.min(MOST_ATTEMPTS)
    }

    /// Whether an outcome invites another attempt. `RESOURCE_EXHAUSTED` does if the callee says when.
    pub(super) fn repeats(&self, code: Code, invited: bool) -> bool {
        (code == Code::ResourceExhausted && invited)
            || self
                .0
                .retryable_status_codes
                .iter()
                .any(|name| name == crate::telemetry::counters::code_name(code as usize))
    }

    /// How long to wait after the attempt with this number, from 1; the callee's word counts if it is longer.
    pub(super) fn pause(&self, attempt: u32, invited: Option<Duration>) -> Duration {
        let factor = self.0.backoff_multiplier.powi(i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX));
        let grown = self.0.initial_backoff.0.as_secs_f64() * factor;
        let capped = grown.min(self.0.max_backoff.0.as_secs_f64());
        let pause = Duration::try_from_secs_f64(capped).unwrap_or(self.0.max_backoff.0);
        spread(pause.max(invited.unwrap_or_default()))
    }
}

/// Varies a pause, so that callers that failed together do not come back together.
pub(super) fn spread(pause: Duration) -> Duration {
    pause * rand::random_range(100 - SPREAD_PERCENT..=100 + SPREAD_PERCENT) / 100
}

pub(super) fn unsent_pause(tries: u32) -> Duration {
    UNSENT_PAUSE * (tries - 1)
}

/// A6's token bucket, in thousandths: a failure takes one token, a success gives a fraction back, and below half
/// nothing is repeated.
pub(super) struct Budget {
    tokens: AtomicI64,
    most: i64,
    gain: i64,
}

const TOKEN: i64 = 1_000;

impl Budget {
    fn new(tokens: f64, ratio: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a float converts to the nearest integer in range")]
        let thousandths = |value: f64| (value * 1_000.0) as i64;
        let most = thousandths(tokens);
        Self { tokens: AtomicI64::new(most), most, gain: thousandths(ratio) }
    }

    pub(super) fn succeeded(&self) {
        if self.tokens.load(Ordering::Relaxed) < self.most {
            let more = |tokens: i64| Some((tokens + self.gain).min(self.most));
            // The closure never declines.
            let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        }
    }

    /// Notes a failure; whether it may be repeated.
    pub(super) fn failed(&self) -> bool {
        let less = |tokens: i64| Some((tokens - TOKEN).max(0));
        let before = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or_default();
        (before - TOKEN).max(0) > self.most / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{
        "methodConfig": [
            {"name": [{"service": "p.S"}], "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.05s",
             "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}},
            {"name": [{"service": "p.S", "method": "Once"}], "timeout": "1s"}
        ],
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
    }"#;

    #[test]
    fn the_most_exact_name_decides() {
        let config = ServiceConfig::parse(CONFIG).unwrap();
        assert_eq!(config.retry_policy("/p.S/M").unwrap().max_attempts(), 4);
        assert!(config.retry_policy("/p.S/Once").is_none());
        assert!(config.retry_policy("/p.T/M").is_none());
        assert!(ServiceConfig::parse("").unwrap().retry_policy("/p.S/M").is_none());
        assert!(ServiceConfig::parse("{").is_err());
    }

    #[test]
    fn only_unavailable_and_invited_overload_are_repeated() {
        let policy = ServiceConfig::parse(CONFIG).unwrap().retry_policy("/p.S/M").unwrap();
        assert!(policy.repeats(Code::Unavailable, false));
        assert!(policy.repeats(Code::ResourceExhausted, true));
        for code in [Code::ResourceExhausted, Code::Aborted, Code::DeadlineExceeded, Code::Internal, Code::Ok] {
            assert!(!policy.repeats(code, false), "{code:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_their_cap_and_heed_the_callee() {
        let policy = ServiceConfig::parse(CONFIG).unwrap().retry_policy("/p.S/M").unwrap();
        for (attempt, milliseconds) in [(1, 50), (2, 100), (3, 200), (10, 1_000)] {
            let pause = policy.pause(attempt, None).as_millis();
            assert!((milliseconds * 8 / 10..=milliseconds * 12 / 10).contains(&pause), "{attempt}: {pause}");
        }
        assert!(policy.pause(1, Some(Duration::from_secs(2))) >= Duration::from_millis(1_600));
    }

    #[test]
    fn the_budget_stops_retries_of_a_callee_that_mostly_fails() {
        let budget = ServiceConfig::parse(CONFIG).unwrap().budget();
        let allowed = (0..20).take_while(|_| budget.failed()).count();
        assert_eq!(allowed, 4, "10 tokens, none below half");
        for _ in 0..200 {
            budget.succeeded();
        }
        assert!(budget.failed());
    }
}
