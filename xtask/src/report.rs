//! Runs named steps one after the other and sums up honestly: passed, failed, or not run and why.

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How a step that did not fail ended.
pub(crate) enum Verdict {
    /// It ran and holds.
    Passed,
    /// It could not run here. On a laptop that is said loudly; where `required`, CI fails.
    NotRun { reason: String, required: bool },
}

enum Outcome {
    Passed,
    NotRun { reason: String, required: bool },
    Failed(String),
}

struct Step {
    name: String,
    outcome: Outcome,
    took: Duration,
}

/// The steps so far.
pub(crate) struct Report {
    steps: Vec<Step>,
    /// Whether what is required must run.
    ci: bool,
}

/// Whether this is a run in which nothing required may be left out.
pub(crate) fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true")
}

impl Report {
    /// An empty report for this environment.
    pub(crate) fn new() -> Self {
        Self { steps: Vec::new(), ci: in_ci() }
    }

    /// Runs one step under a heading. A failure is kept, and the next step runs all the same: one run tells
    /// everything that is wrong. Returns whether the step passed.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<Verdict>) -> bool {
        eprintln!("\n=== {name}");
        let started = Instant::now();
        let outcome = match work() {
            Ok(Verdict::Passed) => Outcome::Passed,
            Ok(Verdict::NotRun { reason, required }) => {
                eprintln!("NOT RUN: {reason}");
                Outcome::NotRun { reason, required }
            }
            Err(error) => {
                eprintln!("FAILED: {error:#}");
                // The summary has one line a step; the details stand above.
                let summary = error.to_string().lines().next().unwrap_or_default().to_owned();
                Outcome::Failed(summary)
            }
        };
        let passed = matches!(outcome, Outcome::Passed);
        self.steps.push(Step { name: name.to_owned(), outcome, took: started.elapsed() });
        passed
    }

    /// Prints the summary; the exit code says whether all holds.
    pub(crate) fn finish(self) -> ExitCode {
        eprint!("\n{}", self.summary());
        if self.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn holds(&self) -> bool {
        self.steps.iter().all(|step| match step.outcome {
            Outcome::Passed => true,
            Outcome::NotRun { required, .. } => !(required && self.ci),
            Outcome::Failed(_) => false,
        })
    }

    fn summary(&self) -> String {
        let width = self.steps.iter().map(|step| step.name.len()).max().unwrap_or_default();
        let mut text = String::new();
        for Step { name, outcome, took } in &self.steps {
            let (word, note) = match outcome {
                Outcome::Passed => ("passed", ""),
                Outcome::NotRun { reason, .. } => ("NOT RUN", reason.as_str()),
                Outcome::Failed(error) => ("FAILED", error.as_str()),
            };
            let line = format!("{name:width$}  {word:7}  {:7.1} s  {note}", took.as_secs_f64());
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let count = |wanted: fn(&Outcome) -> bool| self.steps.iter().filter(|step| wanted(&step.outcome)).count();
        let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let not_run = count(|outcome| matches!(outcome, Outcome::NotRun { .. }));
        let passed = count(|outcome| matches!(outcome, Outcome::Passed));
        text.push_str(&format!("{passed} passed, {failed} failed, {not_run} not run"));
        text.push_str(if not_run > 0 && self.ci && !self.holds() {
            "; CI=true demands that every required step runs\n"
        } else {
            "\n"
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::{Report, Verdict};

    fn report(ci: bool, work: impl FnOnce() -> anyhow::Result<Verdict>) -> Report {
        let mut report = Report { steps: Vec::new(), ci };
        report.step("step", work);
        report
    }

    #[test]
    fn what_passed_holds_and_what_failed_does_not() {
        assert!(report(true, || Ok(Verdict::Passed)).holds());
        let failed = report(false, || bail!("first line\nsecond line"));
        assert!(!failed.holds());
        assert!(failed.summary().contains("FAILED"));
        assert!(failed.summary().contains("first line") && !failed.summary().contains("second line"));
    }

    #[test]
    fn a_required_step_that_cannot_run_fails_in_ci_only() {
        let missing = |required| move || Ok(Verdict::NotRun { reason: "no Go here".to_owned(), required });
        assert!(report(false, missing(true)).holds());
        assert!(!report(true, missing(true)).holds());
        assert!(report(true, missing(false)).holds());
        assert!(report(false, missing(true)).summary().contains("no Go here"));
    }

    #[test]
    fn a_failure_does_not_keep_later_steps_from_running() {
        let mut report = report(false, || bail!("broken"));
        assert!(report.step("later", || Ok(Verdict::Passed)));
        assert!(report.summary().contains("1 passed, 1 failed, 0 not run"));
    }
}
