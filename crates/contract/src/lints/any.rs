//! SK0006: no `google.protobuf.Any`, whose content nobody can classify.

use std::collections::BTreeSet;

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint {
    code: "SK0006",
    rule: "No message of the contracts holds a google.protobuf.Any, not even inside an imported message.",
    check,
};

const ANY: &str = "google.protobuf.Any";
const HELP: &str = "use a message of your own, or a oneof of the messages that it can be";

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for message in model.own_messages() {
        for field in &message.fields {
            if let Some(path) = field.ty.message().and_then(|ty| way_to_any(model, ty, &mut BTreeSet::new())) {
                let text = format!("`{}.{}` holds {path}", message.name, field.name);
                findings.push(Diagnostic::error(LINT.code, field.span.clone(), text, HELP));
            }
        }
    }
    for (_, method) in
        model.methods().filter(|(_, method)| [&method.request, &method.response].contains(&&ANY.to_owned()))
    {
        let text = format!("`{}` takes or returns {ANY}", method.path);
        findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, HELP));
    }
}

/// How an imported message comes to hold an `Any`. Messages of the contracts answer for their own fields.
fn way_to_any<'a>(model: &'a Model, ty: &'a str, seen: &mut BTreeSet<&'a str>) -> Option<String> {
    if ty == ANY {
        return Some(ANY.to_owned());
    }
    if crate::model::is_own(ty) || !seen.insert(ty) {
        return None;
    }
    let fields = &model.messages.get(ty)?.fields;
    let path = fields.iter().filter_map(|field| field.ty.message()).find_map(|inner| way_to_any(model, inner, seen))?;
    Some(format!("{ty}, which holds {path}"))
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn any_is_refused_wherever_it_hides() {
        let line = planted(&[]).line("string buyer = 2");
        for ty in ["google.protobuf.Any", "google.rpc.Status", "repeated google.protobuf.Any"] {
            let field = format!("  {ty} buyer = 2 [(sekat.policy.v1.class) = DATA_CLASS_USER];");
            planted(&[(&line, &field)]).finds("SK0006", &field, "google.protobuf.Any");
        }
        planted(&[("returns (google.protobuf.Empty)", "returns (google.protobuf.Any)")]).finds(
            "SK0006",
            "returns (google.protobuf.Any)",
            "takes or returns",
        );
        let field = "  google.protobuf.Timestamp buyer = 2 [(sekat.policy.v1.class) = DATA_CLASS_USER];";
        planted(&[(&line, field)]).finds_nothing();
    }
}
