//! Deadlines: every inbound call has one, every outbound call a shorter one, and what is late is answered
//! DEADLINE_EXCEEDED. (tonic's own timeout says CANCELLED, ends with the response's headers and is not handed on.)

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use sekat_policy::{MethodKind, MethodPolicy};
use tonic::{Code, Status};

use crate::refusal::refuse;

pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The most time that a unary call gets, whatever its caller asks for.
const LONGEST: Duration = Duration::from_secs(30);
/// With less than this left nobody would wait for the answer: it costs more than that to cross the network twice.
const SHORTEST: Duration = Duration::from_millis(5);
/// The part of the remaining time, in percent, that a call hands down; the rest is for the way back.
const HANDED_DOWN_PERCENT: u32 = 90;
/// The time of a call to a method that no contract knows.
const UNKNOWN_METHOD: Duration = Duration::from_secs(5);
/// gRPC allows at most this in the number of a `grpc-timeout`: eight digits.
const MOST_TIMEOUT_DIGITS: usize = 8;

/// By when an inbound or outbound call must be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// When the response must have begun. A unary response is over then, too.
    pub(crate) response: Instant,
    /// When the whole call must be over; none for a stream whose caller states no time.
    pub(crate) call: Option<Instant>,
}

/// The deadline of a call that arrived at `now`.
///
/// # Errors
/// If the caller's time is malformed or as good as over.
pub(crate) fn inbound(headers: &HeaderMap, policy: &MethodPolicy, now: Instant) -> Result<Deadline, Status> {
    let stated = match headers.get(GRPC_TIMEOUT) {
        Some(value) => Some(parse(value.as_bytes()).ok_or_else(malformed)?),
        None => None,
    };
    if stated.is_some_and(|time| time < SHORTEST) {
        return Err(exceeded());
    }
    let usual = policy.deadline.min(LONGEST);
    Ok(match policy.kind {
        MethodKind::ServerStream => Deadline {
            response: now + stated.map_or(usual, |time| time.min(usual)),
            // What a caller asks for a stream is not capped: a stream holds no slot.
            call: stated.and_then(|time| now.checked_add(time)),
        },
        MethodKind::Read | MethodKind::Write => {
            let response = now + stated.unwrap_or(usual).min(LONGEST);
            Deadline { response, call: Some(response) }
        }
    })
}

/// The deadline of a call made at `now` by work that must be over at `inherited`, with what the caller's own code
/// put into the headers. `policy` is none for a method that the contract does not have.
///
/// # Errors
/// If too little time is left to make the call at all.
pub(crate) fn outbound(
    inherited: Option<Instant>,
    headers: &HeaderMap,
    policy: Option<&MethodPolicy>,
    now: Instant,
) -> Result<Deadline, Status> {
    let stated = headers.get(GRPC_TIMEOUT).and_then(|value| parse(value.as_bytes()));
    let handed_down = inherited.map(|at| at.saturating_duration_since(now) * HANDED_DOWN_PERCENT / 100);
    let limit = [stated, handed_down].into_iter().flatten().min();
    if limit.is_some_and(|time| time < SHORTEST) {
        return Err(exceeded());
    }
    let usual = policy.map_or(UNKNOWN_METHOD, |policy| policy.deadline).min(LONGEST);
    let response = now + limit.map_or(usual, |time| time.min(usual));
    let endless = policy.is_some_and(|policy| policy.kind == MethodKind::ServerStream);
    let call = if endless { limit.and_then(|time| now.checked_add(time)) } else { Some(response) };
    Ok(Deadline { response, call })
}

pub(crate) fn exceeded() -> Status {
    refuse(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the call's time is over")
}

fn malformed() -> Status {
    refuse(Code::InvalidArgument, "MALFORMED_TIMEOUT", "grpc-timeout is not a number of at most 8 digits and a unit")
}

/// Parses a `grpc-timeout`: at most eight digits and one of `H M S m u n`.
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > MOST_TIMEOUT_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The `grpc-timeout` of the time left, rounded down to the finest unit that eight digits hold.
pub(crate) fn header(left: Duration) -> HeaderValue {
    let most = 10_u128.pow(8) - 1;
    let text = [(left.as_micros(), 'u'), (left.as_millis(), 'm'), (u128::from(left.as_secs()), 'S')]
        .into_iter()
        .find(|(number, _)| *number <= most)
        .map_or_else(|| format!("{most}S"), |(number, unit)| format!("{number}{unit}"));
    // Digits and a letter are a header value.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("0u"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sekat_policy::ClassSet;

    fn policy(kind: MethodKind) -> MethodPolicy {
        MethodPolicy {
            path: "/p.S/M",
            callers: &[],
            request: ClassSet::EMPTY,
            response: ClassSet::EMPTY,
            kind,
            scopes: &[],
            deadline: Duration::from_secs(1),
        }
    }

    fn timeout(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(GRPC_TIMEOUT, HeaderValue::from_static(text))])
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn inbound_times_are_the_callers_within_the_cap() {
        let now = Instant::now();
        let unary = policy(MethodKind::Read);
        for (headers, expected) in [
            (HeaderMap::new(), SECOND),
            (timeout("200m"), Duration::from_millis(200)),
            (timeout("5S"), 5 * SECOND),
            (timeout("1H"), 30 * SECOND),
        ] {
            let deadline = inbound(&headers, &unary, now).unwrap();
            assert_eq!(deadline, Deadline { response: now + expected, call: Some(now + expected) });
        }
        assert_eq!(inbound(&timeout("4m"), &unary, now).unwrap_err().code(), Code::DeadlineExceeded);
        for bad in ["", "m", "123456789S", "1x", "-1S", "1.5S"] {
            assert_eq!(inbound(&timeout(bad), &unary, now).unwrap_err().code(), Code::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn a_stream_must_begin_in_time_and_may_go_on() {
        let now = Instant::now();
        let stream = policy(MethodKind::ServerStream);
        let open = inbound(&HeaderMap::new(), &stream, now).unwrap();
        assert_eq!(open, Deadline { response: now + SECOND, call: None });
        let bounded = inbound(&timeout("1H"), &stream, now).unwrap();
        assert_eq!(bounded, Deadline { response: now + SECOND, call: Some(now + 3_600 * SECOND) });
    }

    #[test]
    fn a_call_hands_down_less_than_it_has() {
        let now = Instant::now();
        let unary = policy(MethodKind::Write);
        let call = |left| outbound(Some(now + left), &HeaderMap::new(), Some(&unary), now);
        assert_eq!(call(Duration::from_millis(500)).unwrap().call, Some(now + Duration::from_millis(450)));
        assert_eq!(call(20 * SECOND).unwrap().call, Some(now + SECOND));
        assert_eq!(call(Duration::from_millis(5)).unwrap_err().code(), Code::DeadlineExceeded);
        let stated = outbound(None, &timeout("300m"), Some(&unary), now).unwrap();
        assert_eq!(stated.call, Some(now + Duration::from_millis(300)));
        assert_eq!(outbound(None, &HeaderMap::new(), None, now).unwrap().call, Some(now + UNKNOWN_METHOD));
    }

    #[test]
    fn headers_are_what_parse_takes() {
        for time in [Duration::ZERO, Duration::from_micros(1_500), 99 * SECOND, 100 * SECOND, 200_000 * SECOND] {
            let parsed = parse(header(time).as_bytes()).unwrap();
            assert!(parsed <= time && time - parsed <= Duration::from_millis(1), "{time:?} {parsed:?}");
        }
    }
}
