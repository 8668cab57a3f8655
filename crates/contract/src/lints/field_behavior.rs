//! SK0019: every field that a client sends says how: required, optional, or not to be sent at all.

use std::collections::BTreeMap;

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint {
    code: "SK0019",
    rule: "Every field of a request, also in the messages that it holds, states google.api.field_behavior (AIP-203).",
    check,
};

const STATED: [&str; 5] = ["REQUIRED", "OPTIONAL", "OUTPUT_ONLY", "IMMUTABLE", "IDENTIFIER"];

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    let mut sent = BTreeMap::new();
    for (_, method) in model.methods() {
        for message in model.reach(&method.request) {
            sent.entry(&message.name).or_insert((message, &method.path));
        }
    }
    for (message, path) in sent.into_values() {
        for field in &message.fields {
            if !field.behaviors.iter().any(|behavior| STATED.contains(&behavior.as_str())) {
                let text = format!("`{}.{}` is sent to `{path}` and has no field behaviour", message.name, field.name);
                let help = format!("state (google.api.field_behavior), one of {}", STATED.join(", "));
                findings.push(Diagnostic::error(LINT.code, field.span.clone(), text, help));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn a_sent_field_has_a_behaviour() {
        let line = planted(&[]).line("string currency = 1");
        let bare = line.replace("(google.api.field_behavior) = REQUIRED, ", "");
        planted(&[(&line, &bare)]).finds("SK0019", &bare, "no field behaviour");
        let unspecified = line.replace("= REQUIRED", "= FIELD_BEHAVIOR_UNSPECIFIED");
        planted(&[(&line, &unspecified)]).finds("SK0019", &unspecified, "no field behaviour");
        planted(&[(&line, &line.replace("= REQUIRED", "= IMMUTABLE"))]).finds_nothing();
    }

    #[test]
    fn so_has_one_inside_of_a_sent_message() {
        let line = planted(&[]).line("string sku = 1");
        let bare = line.replace("(google.api.field_behavior) = REQUIRED, ", "");
        planted(&[(&line, &bare)]).finds("SK0019", &bare, "`sekat.shop.v1.OrderLine.sku` is sent to");
    }
}
