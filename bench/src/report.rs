//! Figures in the words of the report: medians, percentiles, and budgets that are met or not.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// A figure, and the most that it may be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Budget {
    what: &'static str,
    unit: &'static str,
    measured: f64,
    limit: f64,
    met: bool,
}

impl Budget {
    pub(crate) fn new(what: &'static str, unit: &'static str, measured: f64, limit: f64) -> Self {
        Self { what, unit, measured, limit, met: measured <= limit }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, unit, measured, limit, met } = self;
        let verdict = if *met { "met    " } else { "NOT MET" };
        write!(f, "  {verdict}  {what}: {measured:.2}{unit}, budget {limit:.2}{unit}")
    }
}

/// The value below which the share `rank` (0 to 1) of all values lies, by the nearest rank; 0 if there are none.
pub(crate) fn percentile(values: &[f64], rank: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut position = 0.0;
    for value in &sorted {
        position += 1.0;
        if position >= rank * sorted.len() as f64 {
            return *value;
        }
    }
    0.0
}

pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// In units of 2^20 bytes, as `ps` and `/proc` count.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (rank, value) in [(0.0, 1.0), (0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)] {
            assert!((percentile(&hundred, rank) - value).abs() < f64::EPSILON, "{rank}");
        }
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }

    #[test]
    fn a_budget_is_met_up_to_its_limit() {
        assert!(Budget::new("it", "x", 1.15, 1.15).to_string().contains(" met "));
        assert!(Budget::new("it", "x", 1.16, 1.15).to_string().contains("NOT MET"));
    }
}
