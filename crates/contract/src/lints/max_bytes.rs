//! SK0027: a limit in bytes stands where bytes are counted. Elsewhere it would promise what nobody checks.

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::{FieldType, Model};

pub(super) const LINT: Lint =
    Lint { code: "SK0027", rule: "Only text and bytes, also as values of a map, state max_bytes.", check };

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for message in model.own_messages() {
        for field in message.fields.iter().filter(|field| field.max_bytes.is_some() && !has_length(&field.ty)) {
            let text = format!("`{}.{}` states max_bytes and is neither text nor bytes", message.name, field.name);
            let help = "remove it; of a message, state the limits of its fields";
            findings.push(Diagnostic::error(LINT.code, field.span.clone(), text, help));
        }
    }
}

fn has_length(ty: &FieldType) -> bool {
    match ty {
        FieldType::Text | FieldType::Bytes => true,
        FieldType::Map(value) => has_length(value),
        FieldType::Scalar | FieldType::Enum(_) | FieldType::Message(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn a_limit_stands_where_bytes_are_counted() {
        let line = planted(&[]).line("string etag = 7");
        for ty in ["int64", "bool", "OrderState", "google.type.Money", "repeated double", "map<string, int32>"] {
            let numbered = line.replace("string", ty);
            planted(&[(&line, &numbered)]).finds("SK0027", &numbered, "`sekat.shop.v1.Order.etag` states max_bytes");
            let (from, to) = (&line, &numbered.replace(", (sekat.policy.v1.max_bytes) = 64", ""));
            planted(&[(from, to)]).finds_nothing();
        }
        for ty in ["bytes", "repeated string", "map<string, string>"] {
            planted(&[(&line, &line.replace("string", ty))]).finds_nothing();
        }
    }
}
