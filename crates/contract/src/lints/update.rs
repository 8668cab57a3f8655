//! SK0021: an update says which fields it changes, and of which version.

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::{Field, FieldType, Model};

pub(super) const LINT: Lint = Lint {
    code: "SK0021",
    rule: "An Update method with an update_mask takes an etag, in its request or in the resource (AIP-134, 154).",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for (_, method) in model.methods().filter(|(_, method)| method.name.starts_with("Update")) {
        let Some(request) = model.messages.get(&method.request) else { continue };
        let has = |fields: &[Field], name: &str, ty: &FieldType| {
            fields.iter().any(|field| field.name == name && field.ty == *ty)
        };
        let mask = FieldType::Message("google.protobuf.FieldMask".to_owned());
        let resources = request.fields.iter().filter_map(|field| model.messages.get(field.ty.message()?));
        let mut fields = std::iter::once(request).chain(resources).map(|message| &message.fields);
        if has(&request.fields, "update_mask", &mask) && !fields.any(|fields| has(fields, "etag", &FieldType::Text)) {
            let text = format!("`{}` changes a resource without an etag: a late update wins unseen", method.path);
            let help = "add `string etag` to its request or its resource, and refuse a stale one with ABORTED";
            findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn an_update_has_an_etag() {
        let resource = planted(&[]).line("string etag = 2");
        planted(&[(&resource, "")]).finds("SK0021", "rpc UpdateOrder", "without an etag");
        let mask = planted(&[]).line("FieldMask update_mask");
        let etag =
            "string etag = 8 [(google.api.field_behavior) = OPTIONAL, (sekat.policy.v1.class) = DATA_CLASS_INTERNAL];";
        planted(&[(&resource, ""), (&mask, &format!("{mask}\n  // The version.\n  {etag}"))]).finds_nothing();
        planted(&[(&resource, ""), (&mask, "")]).finds_nothing();
    }
}
