//! SK0005: a field whose message states its own classes does not state another.

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint {
    code: "SK0005",
    rule: "A field whose type is a message of the contracts carries no data class: the message's fields do.",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for message in model.own_messages() {
        for field in message.fields.iter().filter(|field| !field.is_leaf()) {
            if let Some(class) = field.class {
                let text =
                    format!("`{}.{}` says {class}, but its message states its own classes", message.name, field.name);
                findings.push(Diagnostic::error(LINT.code, field.span.clone(), text, "remove the class"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn a_message_field_has_no_class_of_its_own() {
        let with = "repeated OrderLine lines = 6 [(sekat.policy.v1.class) = DATA_CLASS_PUBLIC];";
        planted(&[("repeated OrderLine lines = 6;", with)]).finds("SK0005", with, "says PUBLIC");
        planted(&[("repeated OrderLine lines = 6;", "OrderLine lines = 6;")]).finds_nothing();
    }
}
