//! SK0026: a call has a deadline that somebody would wait for.

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint { code: "SK0026", rule: "A stated deadline is 1 to 30,000 milliseconds.", check };

/// The longest that servers let any call live, streams included.
const LONGEST_MS: u32 = 30_000;

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for (_, method) in model.methods() {
        let Some(deadline_ms) = method.policy.as_ref().and_then(|policy| policy.deadline_ms) else { continue };
        if deadline_ms > LONGEST_MS {
            let text = format!("`{}` has a deadline of {deadline_ms} ms", method.path);
            let help = format!("state {LONGEST_MS} at most; make longer work an operation, and longer streams resume");
            findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn a_deadline_is_thirty_seconds_at_most() {
        let policy = r#"callers: ["shop"] kind: METHOD_KIND_WRITE"#;
        let with = |deadline_ms| format!("{policy} deadline_ms: {deadline_ms}");
        planted(&[(policy, &with(30_001))]).finds("SK0026", "rpc CreateCharge", "30001 ms");
        planted(&[(policy, &with(30_000))]).finds_nothing();
    }
}
