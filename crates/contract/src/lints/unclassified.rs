//! SK0003: every leaf field says what it holds.

use sekat_policy::Diagnostic;

use super::{CLASSES, Lint};
use crate::model::{FieldType, Model};

pub(super) const LINT: Lint = Lint {
    code: "SK0003",
    rule: "Every leaf field states its data class; a field of an imported google.* message is a leaf.",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for message in model.own_messages() {
        for field in &message.fields {
            let opaque = matches!(field.ty, FieldType::Bytes | FieldType::Map(_));
            if field.is_leaf() && !opaque && field.class.is_none() {
                let text = format!("`{}.{}` does not say what it holds", message.name, field.name);
                findings.push(Diagnostic::error(LINT.code, field.span.clone(), text, CLASSES));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn a_leaf_without_a_class_is_found() {
        let class = " [(sekat.policy.v1.class) = DATA_CLASS_USER]";
        // Text, an imported message, an enum, a number.
        for field in
            ["string buyer = 2", "google.type.Money total = 3", "OrderState state = 4", "repeated int64 marks = 5"]
        {
            let from = planted(&[]).line(field);
            let stripped = from.split(" [").next().expect("the line has a field").to_owned() + ";";
            planted(&[(&from, &stripped)]).finds("SK0003", &stripped, "does not say what it holds");
            planted(&[(&from, &stripped.replace(';', &format!("{class};")))]).finds_nothing();
            let unspecified = stripped.replace(';', " [(sekat.policy.v1.class) = DATA_CLASS_UNSPECIFIED];");
            planted(&[(&from, &unspecified)]).finds("SK0003", &unspecified, "does not say what it holds");
        }
    }

    #[test]
    fn a_message_of_the_contracts_classifies_its_own_fields() {
        let line = planted(&[]).line("repeated OrderLine lines = 6");
        assert!(!line.contains("class"), "{line}");
        planted(&[]).finds_nothing();
    }
}
