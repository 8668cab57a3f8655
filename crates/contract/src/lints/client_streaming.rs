//! SK0016: a request is one message, so that authorization, deadlines and repeats concern one thing.

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint { code: "SK0016", rule: "No method streams its request.", check };

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for (_, method) in model.methods().filter(|(_, method)| method.client_streaming) {
        let text = format!("`{}` streams its request", method.path);
        let help = "take one message; let a repeated field or several calls carry many things";
        findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, help));
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn requests_do_not_stream() {
        let streaming = "rpc CreateCharge(stream CreateChargeRequest)";
        planted(&[("rpc CreateCharge(CreateChargeRequest)", streaming)]).finds(
            "SK0016",
            streaming,
            "streams its request",
        );
        assert!(planted(&[]).line("rpc WatchOrders").contains("returns (stream Order)"), "responses may");
    }
}
