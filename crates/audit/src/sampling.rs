//! How much of the traffic is traced, as OpenTelemetry's consistent probability sampling writes it down: the member `ot`
//! of `tracestate` has `th`, the share of traces that is rejected, as up to 14 hexadecimal digits of a fraction.

use serde::Serialize;

/// Parts of the whole that a threshold counts.
const WHOLE: u64 = 1 << 56;

/// What is known about sampling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sampling {
    /// Spans that say that their trace was one of a sample.
    pub sampled_spans: u64,
    /// Spans of traces that were not meant to be recorded.
    pub unsampled_spans: u64,
    /// Spans whose `tracestate` cannot be read.
    pub unreadable: u64,
    /// The smallest probability with which one was kept; 1 where nothing was sampled.
    pub probability: f64,
    /// How often something must have happened for one case of it to be traced with 99 %.
    pub seen_after: u64,
}

/// Counts what spans say about sampling.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sampler {
    sampled: u64,
    unsampled: u64,
    unreadable: u64,
    highest_threshold: u64,
}

impl Sampler {
    #[inline]
    pub(crate) fn span(&mut self, trace_state: &str, flags: u32) {
        // Flags of 0 are those of libraries that do not write them.
        if flags & crate::span::PARENT_IS_KNOWN != 0 && flags & crate::span::SAMPLED == 0 {
            self.unsampled += 1;
        }
        if trace_state.is_empty() {
            return;
        }
        match threshold(trace_state) {
            Ok(0) => {}
            Ok(threshold) => {
                self.sampled += 1;
                self.highest_threshold = self.highest_threshold.max(threshold);
            }
            Err(()) => self.unreadable += 1,
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.sampled == 0 && self.unsampled == 0 && self.unreadable == 0
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a probability needs no more precision, and the count is positive and saturates"
    )]
    pub(crate) fn report(&self) -> Sampling {
        let probability = (WHOLE - self.highest_threshold.min(WHOLE)) as f64 / WHOLE as f64;
        // Of n cases at least one is traced with 1 - (1 - p)^n.
        let seen_after = if probability >= 1.0 { 1 } else { (0.01_f64.ln() / (-probability).ln_1p()).ceil() as u64 };
        Sampling {
            sampled_spans: self.sampled,
            unsampled_spans: self.unsampled,
            unreadable: self.unreadable,
            probability,
            seen_after,
        }
    }
}

/// The rejection threshold of a `tracestate`, of 2^56; 0 if it has none.
fn threshold(trace_state: &str) -> Result<u64, ()> {
    let ours = trace_state.split(',').map(str::trim).find_map(|member| member.strip_prefix("ot="));
    let Some(digits) = ours.and_then(|ours| ours.split(';').find_map(|member| member.strip_prefix("th:"))) else {
        return Ok(0);
    };
    if digits.is_empty() || digits.len() > 14 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(());
    }
    // Digits that are missing are zeros at the end.
    u64::from_str_radix(&format!("{digits:0<14}"), 16).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_read_as_a_fraction() {
        for (state, wanted) in [
            ("", Ok(0)),
            ("vendor=x", Ok(0)),
            ("ot=rv:abcdef01234567", Ok(0)),
            ("ot=th:0", Ok(0)),
            ("ot=th:8", Ok(1 << 55)),
            ("vendor=x, ot=rv:1;th:c", Ok(3 << 54)),
            ("ot=th:", Err(())),
            ("ot=th:+8", Err(())),
            ("ot=th:123456789abcdef", Err(())),
        ] {
            assert_eq!(threshold(state), wanted, "{state}");
        }
    }

    #[test]
    fn a_share_says_how_rare_a_thing_may_be_and_still_be_seen() {
        let mut sampler = Sampler::default();
        sampler.span("ot=th:0", 0x101);
        assert!(sampler.is_complete());
        assert_eq!(sampler.report().seen_after, 1);
        sampler.span("ot=th:8", 0x101);
        let half = sampler.report();
        assert_eq!((half.sampled_spans, half.probability, half.seen_after), (1, 0.5, 7));
        sampler.span("", 0x100);
        assert_eq!(sampler.report().unsampled_spans, 1);
        assert!(!sampler.is_complete());
    }
}
