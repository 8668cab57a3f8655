//! SK0012: what crosses a domain boundary as INTERNAL is a known kind of token, and short: no room for a person.

use std::collections::BTreeMap;

use sekat_policy::{DataClass, Diagnostic};

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint {
    code: "SK0012",
    rule: "INTERNAL data crosses a domain boundary only in tokens of known names that state max_bytes, 512 at most.",
    check,
};

/// The fields that may cross.
const TOKENS: [&str; 5] = ["request_id", "page_token", "next_page_token", "resume_token", "etag"];
/// The most bytes that a token may state: a page token is a sealed filter digest and a cursor, well below.
const MOST_BYTES: u32 = 512;

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    // One finding a field, however many edges it crosses on.
    let mut crossing = BTreeMap::new();
    for edge in model.edges().filter(|edge| edge.caller.domain != edge.callee.domain) {
        for (message, field) in [&edge.method.request, &edge.method.response].into_iter().flat_map(|m| model.leaves(m))
        {
            if field.class == Some(DataClass::Internal) {
                crossing.entry((&message.name, &field.name)).or_insert((field, edge));
            }
        }
    }
    for ((message, name), (field, edge)) in crossing {
        let (what, help) = if !TOKENS.contains(&name.as_str()) {
            ("is INTERNAL and no token".to_owned(), format!("classify what it holds; tokens are {}", TOKENS.join(", ")))
        } else if field.max_bytes.is_none_or(|limit| limit == 0 || limit > MOST_BYTES) {
            ("is INTERNAL without a limit".to_owned(), format!("state (sekat.policy.v1.max_bytes), 1 to {MOST_BYTES}"))
        } else {
            continue;
        };
        let text =
            format!("`{message}.{name}` {what}, and `{}` of another domain reads or writes it", edge.caller.name);
        findings.push(Diagnostic::error(LINT.code, field.span.clone(), text, help));
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn a_token_that_crosses_has_a_known_name_and_a_limit() {
        let token = planted(&[]).line("string resume_token = 4");
        let limit = ", (sekat.policy.v1.max_bytes) = 64";
        for (changed, part) in [
            (token.replace("resume_token", "cursor"), "no token"),
            (token.replace(limit, ""), "without a limit"),
            (token.replace("= 64", "= 4096"), "without a limit"),
            (token.replace("= 64", "= 0"), "without a limit"),
        ] {
            planted(&[(&token, &changed)]).finds("SK0012", &changed, part);
        }
        planted(&[(&token, &token.replace("= 64", "= 512"))]).finds_nothing();
    }

    #[test]
    fn within_a_domain_any_name_will_do() {
        let etag = planted(&[]).line("string etag = 7");
        planted(&[(&etag, &etag.replace("etag", "shard").replace(", (sekat.policy.v1.max_bytes) = 64", ""))])
            .finds_nothing();
    }
}
