//! SK0004: bytes and maps, in which anything can hide, say what they hold.

use sekat_policy::Diagnostic;

use super::{CLASSES, Lint};
use crate::model::{FieldType, Model};

pub(super) const LINT: Lint = Lint {
    code: "SK0004",
    rule: "A bytes field or a map states its data class, a map for its keys and its leaf values alike.",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for message in model.own_messages() {
        for field in message.fields.iter().filter(|field| field.class.is_none()) {
            let kind = match field.ty {
                FieldType::Bytes => "bytes",
                FieldType::Map(_) => "a map",
                _ => continue,
            };
            let text = format!("`{}.{}` is {kind} and does not say what it holds", message.name, field.name);
            findings.push(Diagnostic::error(LINT.code, field.span.clone(), text, CLASSES));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn bytes_and_maps_need_a_class() {
        let line = planted(&[]).line("string buyer = 2");
        for opaque in ["bytes buyer = 2", "map<string, string> buyer = 2", "map<string, OrderLine> buyer = 2"] {
            let bare = format!("  {opaque};");
            planted(&[(&line, &bare)]).finds("SK0004", &bare, "does not say what it holds");
            let classified = format!("  {opaque} [(sekat.policy.v1.class) = DATA_CLASS_USER];");
            planted(&[(&line, &classified)]).finds_nothing();
        }
    }
}
