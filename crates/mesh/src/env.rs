//! Typed reading of environment variables. Nothing stops at the first mistake: every bad or missing value is
//! collected and reported by name in one go.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The environment of a process while its configuration is read.
#[derive(Debug, Default)]
pub struct Env {
    variables: BTreeMap<String, String>,
    problems: Vec<String>,
}

/// A type that an environment variable can hold.
pub trait FromEnv: Sized {
    /// What a good value looks like, to complete the sentence "must be …".
    const EXPECTED: &'static str;

    /// The value, or `None` if the text is not one.
    fn from_env(text: &str) -> Option<Self>;

    /// Stands in for a bad or missing value until [`Env::finish`] reports it; no program runs with it.
    fn placeholder() -> Self;
}

/// All that is wrong with an environment, one line a variable.
#[derive(Debug, thiserror::Error)]
pub struct EnvError {
    problems: Vec<String>,
}

impl fmt::Display for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl Env {
    /// The environment of this process. Values that are not UTF-8 count as missing.
    #[must_use]
    pub fn from_process() -> Self {
        Self::from_vars(std::env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            name.starts_with("SEKAT_").then_some((name, value))
        }))
    }

    /// An environment made of the given variables, for processes that host several workloads, such as tests.
    pub fn from_vars<N: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, problems: Vec::new() }
    }

    /// The value of `name`; missing or malformed is a problem.
    pub fn required<T: FromEnv>(&mut self, name: &str) -> T {
        self.maybe(name).unwrap_or_else(|| {
            self.problem(name, format_args!("is required; it must be {}", T::EXPECTED));
            T::placeholder()
        })
    }

    /// The value of `name`, or `default` if it is not set; malformed is a problem.
    pub fn optional<T: FromEnv>(&mut self, name: &str, default: T) -> T {
        self.maybe(name).unwrap_or(default)
    }

    /// The value of `name` if it is set and not empty; malformed is a problem.
    pub fn maybe<T: FromEnv>(&mut self, name: &str) -> Option<T> {
        let text = self.variables.get(name).filter(|text| !text.is_empty())?;
        if let Some(value) = T::from_env(text) {
            return Some(value);
        }
        // The value is not repeated: it may be a secret.
        self.problem(name, format_args!("must be {}", T::EXPECTED));
        Some(T::placeholder())
    }

    /// All variables whose names begin with `prefix`, without it.
    pub(crate) fn with_prefix<T: FromEnv>(&mut self, prefix: &str) -> BTreeMap<String, T> {
        let names: Vec<String> = self.variables.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        let value_of = |name: String| {
            let value = self.maybe::<T>(&name)?;
            name.strip_prefix(prefix).map(|rest| (rest.to_owned(), value))
        };
        names.into_iter().filter_map(value_of).collect()
    }

    /// Adds a problem of the caller's own, for instance that two values contradict each other.
    pub fn problem(&mut self, name: &str, what: impl fmt::Display) {
        self.problems.push(format!("{name} {what}"));
    }

    /// # Errors
    /// Every problem found so far, by name.
    pub fn finish(self) -> Result<(), EnvError> {
        let mut problems = self.problems;
        problems.dedup();
        if problems.is_empty() { Ok(()) } else { Err(EnvError { problems }) }
    }
}

impl FromEnv for String {
    const EXPECTED: &'static str = "text";
    fn from_env(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
    fn placeholder() -> Self {
        Self::new()
    }
}

impl FromEnv for PathBuf {
    const EXPECTED: &'static str = "a path";
    fn from_env(text: &str) -> Option<Self> {
        Some(Self::from(text))
    }
    fn placeholder() -> Self {
        Self::new()
    }
}

impl FromEnv for sekat_identity::SpiffeId {
    const EXPECTED: &'static str = "a workload's SPIFFE ID, for instance spiffe://shop.example/payment";
    fn from_env(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    #[expect(clippy::expect_used, reason = "a constant that a test parses")]
    fn placeholder() -> Self {
        "spiffe://placeholder/placeholder".parse().expect("it is a SPIFFE ID")
    }
}

impl FromEnv for SocketAddr {
    const EXPECTED: &'static str = "an address and a port, for instance 127.0.0.1:8443";
    fn from_env(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn placeholder() -> Self {
        Self::from(([0, 0, 0, 0], 0))
    }
}

impl FromEnv for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_env(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn placeholder() -> Self {
        false
    }
}

impl FromEnv for f64 {
    const EXPECTED: &'static str = "a number";
    fn from_env(text: &str) -> Option<Self> {
        text.parse().ok().filter(|value: &Self| value.is_finite())
    }
    fn placeholder() -> Self {
        0.0
    }
}

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl FromEnv for $type {
            const EXPECTED: &'static str = concat!("a whole number that fits ", stringify!($type));
            fn from_env(text: &str) -> Option<Self> {
                text.parse().ok()
            }
            fn placeholder() -> Self {
                0
            }
        }
    )*};
}
whole_numbers!(u8, u16, u32, u64, usize, i32, i64);

impl FromEnv for Duration {
    const EXPECTED: &'static str = "a duration with its unit, for instance 250ms, 30s, 15m or 24h";
    fn from_env(text: &str) -> Option<Self> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(unit_at);
        let number: u64 = number.parse().ok()?;
        match unit {
            "ms" => Some(Self::from_millis(number)),
            "s" => Some(Self::from_secs(number)),
            "m" => number.checked_mul(60).map(Self::from_secs),
            "h" => number.checked_mul(3_600).map(Self::from_secs),
            _ => None,
        }
    }
    fn placeholder() -> Self {
        Self::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_for_an_identity_is_one() {
        let mut env = Env::from_vars([("SEKAT_A", "payment")]);
        assert_eq!(env.required::<sekat_identity::SpiffeId>("SEKAT_A").as_str(), "spiffe://placeholder/placeholder");
        assert!(env.finish().unwrap_err().to_string().contains("SPIFFE ID"));
    }

    #[test]
    fn every_problem_is_reported_by_name_and_no_value_is_repeated() {
        let mut env = Env::from_vars([("SEKAT_A", "12x"), ("SEKAT_B", "127.0.0.1"), ("SEKAT_D", "")]);
        let _: u32 = env.required("SEKAT_A");
        let _: SocketAddr = env.optional("SEKAT_B", SocketAddr::from(([127, 0, 0, 1], 1)));
        let _: String = env.required("SEKAT_C");
        let _: String = env.required("SEKAT_D");
        let report = env.finish().unwrap_err().to_string();
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!(lines.len(), 4, "{report}");
        for (line, name) in lines.iter().zip(["SEKAT_A must", "SEKAT_B must", "SEKAT_C is req", "SEKAT_D is req"]) {
            assert!(line.starts_with(name), "{line}");
        }
        assert!(!report.contains("12x"));
    }

    #[test]
    fn good_values_are_typed_and_defaults_fill_gaps() {
        let mut env = Env::from_vars([("SEKAT_A", "12"), ("SEKAT_T", "1500ms"), ("SEKAT_UPSTREAM_X", "a:1")]);
        assert_eq!(env.required::<u32>("SEKAT_A"), 12);
        assert_eq!(env.required::<Duration>("SEKAT_T"), Duration::from_millis(1_500));
        assert_eq!(env.optional::<u16>("SEKAT_NONE", 7), 7);
        assert_eq!(env.maybe::<bool>("SEKAT_NONE"), None);
        assert_eq!(env.with_prefix::<String>("SEKAT_UPSTREAM_"), BTreeMap::from([("X".into(), "a:1".into())]));
        env.finish().unwrap();
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, expected) in [
            ("5s", Some(Duration::from_secs(5))),
            ("2m", Some(Duration::from_secs(120))),
            ("1h", Some(Duration::from_secs(3_600))),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(Duration::from_env(text), expected, "{text}");
        }
    }
}
