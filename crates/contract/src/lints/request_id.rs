//! SK0010: a write has a `request_id`, which makes repeating it safe; a read has none.

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::{Cardinality, Effect, FieldType, Model};

pub(super) const LINT: Lint = Lint {
    code: "SK0010",
    rule: "The request of a write has a string field request_id, and that of a read has none (AIP-155).",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for (_, method) in model.methods() {
        let Some(kind) = method.policy.as_ref().and_then(|policy| policy.kind) else { continue };
        let request = model.messages.get(&method.request);
        let field = request.and_then(|request| request.fields.iter().find(|field| field.name == "request_id"));
        let (what, help) = match (kind, field) {
            (Effect::Write, None) => ("is a write without a request_id", "add `string request_id` to its request"),
            (Effect::Write, Some(field))
                if field.ty != FieldType::Text
                    || field.cardinality == Cardinality::Repeated
                    || field.oneof.is_some() =>
            {
                ("has a request_id that is no plain string", "make it `string request_id`")
            }
            (Effect::Read, Some(_)) => ("is a read with a request_id", "remove it, or declare the method a write"),
            _ => continue,
        };
        let text = format!("`{}` {what}", method.path);
        findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, help));
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn a_write_has_a_request_id() {
        let id = planted(&[]).line("string request_id = 9");
        planted(&[(&id, "")]).finds("SK0010", "rpc CreateCharge", "without a request_id");
        planted(&[(&id, &id.replace("string", "repeated string"))]).finds(
            "SK0010",
            "rpc CreateCharge",
            "no plain string",
        );
        planted(&[(&id, &id.replace("string", "optional string"))]).finds_nothing();
    }

    #[test]
    fn a_read_has_none() {
        let write = r#"callers: ["shop"] kind: METHOD_KIND_WRITE"#;
        planted(&[(write, &write.replace("WRITE", "READ"))]).finds("SK0010", "rpc CreateCharge", "a read with");
    }
}
