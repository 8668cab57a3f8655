//! SK0018: what different end users see has different types, so that a field for one cannot slip to the other.

use std::collections::BTreeMap;

use sekat_policy::{ClassSet, DataClass, Diagnostic, EndUserScope};

use super::Lint;
use crate::model::{Cardinality, Method, Model};

pub(super) const LINT: Lint = Lint {
    code: "SK0018",
    rule: "A type with classified fields is not returned to end users of different scopes by different methods.",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    let open = ClassSet::EMPTY.with(DataClass::Public).with(DataClass::Internal);
    let mut shown: BTreeMap<&str, (Vec<EndUserScope>, &Method)> = BTreeMap::new();
    for (_, method) in model.methods() {
        let scopes: Vec<_> = method.policy.iter().flat_map(|policy| policy.scopes.iter().flatten().copied()).collect();
        if scopes.is_empty() || scopes.contains(&EndUserScope::Anonymous) {
            continue;
        }
        for ty in returned(model, method).filter(|ty| !model.classes(ty).difference(open).is_empty()) {
            let (others, first) = shown.entry(ty).or_insert_with(|| (scopes.clone(), method));
            if !scopes.iter().any(|scope| others.contains(scope)) {
                let text = format!(
                    "`{}` returns `{ty}` to {scopes:?}, and `{}` returns it to {others:?}",
                    method.path, first.path
                );
                let help = "give each its own view: a message with the fields that it may see";
                findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, help));
            }
        }
    }
}

/// The type that a method returns, or those that it lists.
fn returned<'a>(model: &'a Model, method: &'a Method) -> impl Iterator<Item = &'a str> {
    let fields = model.messages.get(&method.response).into_iter().flat_map(|response| &response.fields);
    let listed = fields.filter(|field| field.cardinality == Cardinality::Repeated && !field.is_leaf());
    std::iter::once(method.response.as_str()).chain(listed.filter_map(|field| field.ty.message()))
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn buyers_and_sellers_have_views_of_their_own() {
        let policy = planted(&[]).line(r#"callers: ["shop-edge", "ledger"]"#);
        planted(&[(&policy, &policy.replace("BUYER", "SELLER"))]).finds(
            "SK0018",
            "rpc GetOrder",
            "`sekat.shop.v1.Order`",
        );
        let both = policy.replace("END_USER_SCOPE_BUYER", "END_USER_SCOPE_BUYER, END_USER_SCOPE_SELLER");
        planted(&[(&policy, &both)]).finds_nothing();
    }
}
