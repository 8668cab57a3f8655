//! SK0020: contracts are the documentation; every part of them has a comment.

use sekat_policy::{Diagnostic, Span};

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint {
    code: "SK0020",
    rule: "Every service, method, message, oneof, field, enum and enum value has a comment.",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    let mut report = |documented: bool, kind: &str, name: String, span: &Span| {
        if !documented {
            let text = format!("the {kind} `{name}` has no comment");
            let help = "say above it what it means, with units and limits";
            findings.push(Diagnostic::error(LINT.code, span.clone(), text, help));
        }
    };
    for service in &model.services {
        report(service.documented, "service", service.name.clone(), &service.span);
        for method in &service.methods {
            report(method.documented, "method", format!("{}.{}", service.name, method.name), &method.span);
        }
    }
    for message in model.own_messages() {
        report(message.documented, "message", message.name.clone(), &message.span);
        for oneof in &message.oneofs {
            report(oneof.documented, "oneof", format!("{}.{}", message.name, oneof.name), &oneof.span);
        }
        for field in &message.fields {
            report(field.documented, "field", format!("{}.{}", message.name, field.name), &field.span);
        }
    }
    for enumeration in model.enums.values() {
        report(enumeration.documented, "enum", enumeration.name.clone(), &enumeration.span);
        for value in &enumeration.values {
            report(value.documented, "enum value", format!("{}.{}", enumeration.name, value.name), &value.span);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn every_part_has_a_comment() {
        for (comment, at, kind) in [
            ("// Charges.\nservice", "service BankService", "service"),
            ("// Asks for money.\n", "rpc CreateCharge", "method"),
            ("// Money that was asked for.\n", "message Charge {", "message"),
            ("// The amount in rupiah.\n", "int64 amount = 2", "field"),
            ("// How it is paid.\n", "oneof means {", "oneof"),
            ("// How far an order is.\n", "enum OrderState {", "enum"),
            ("// It is paid.\n", "ORDER_STATE_PAID = 1", "enum value"),
        ] {
            let kept = comment.split_once('\n').map_or("", |(_, kept)| kept);
            planted(&[(comment, kept)]).finds("SK0020", at, &format!("the {kind} `"));
        }
    }

    #[test]
    fn a_comment_may_stand_behind() {
        let line = planted(&[]).line("ORDER_STATE_PAID = 1");
        planted(&[("// It is paid.\n", ""), (&line, &format!("{line} // It is paid."))]).finds_nothing();
    }
}
