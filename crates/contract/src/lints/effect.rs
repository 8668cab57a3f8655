//! SK0009: every method says whether it has effects; a stream has none.

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::{Effect, Model};

pub(super) const LINT: Lint =
    Lint { code: "SK0009", rule: "Every method is a read or a write; only a read may stream its response.", check };

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for (_, method) in model.methods() {
        let Some(policy) = &method.policy else { continue };
        let (what, help) = match policy.kind {
            None => ("does not say whether it has effects", "state its kind: METHOD_KIND_READ or METHOD_KIND_WRITE"),
            Some(Effect::Write) if method.server_streaming => {
                ("is a write that streams", "write with one response, and let a read stream what follows")
            }
            Some(_) => continue,
        };
        let text = format!("`{}` {what}", method.path);
        findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, help));
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn a_method_says_whether_it_has_effects() {
        let policy = r#"callers: ["shop"] kind: METHOD_KIND_WRITE"#;
        planted(&[(policy, r#"callers: ["shop"]"#)]).finds("SK0009", "rpc CreateCharge", "whether it has effects");
    }

    #[test]
    fn a_write_does_not_stream() {
        let streaming = "rpc CreateCharge(CreateChargeRequest) returns (stream Charge)";
        planted(&[("rpc CreateCharge(CreateChargeRequest) returns (Charge)", streaming)]).finds(
            "SK0009",
            streaming,
            "a write that streams",
        );
        planted(&[(
            "rpc GetOrder(GetOrderRequest) returns (Order)",
            "rpc GetOrder(GetOrderRequest) returns (stream Order)",
        )])
        .finds_nothing();
    }
}
