//! SK0011: only public data crosses from one domain to another, in either direction.

use std::collections::BTreeMap;

use sekat_policy::{DataClass, Diagnostic};

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint {
    code: "SK0011",
    rule: "A method that another domain may call carries PUBLIC data, and INTERNAL data as far as SK0012 allows it.",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for edge in model.edges().filter(|edge| edge.caller.domain != edge.callee.domain) {
        let mut witnesses = BTreeMap::new();
        for (message, field) in [&edge.method.request, &edge.method.response].into_iter().flat_map(|m| model.leaves(m))
        {
            let class = field.class.filter(|class| !matches!(class, DataClass::Public | DataClass::Internal));
            if let Some(class) = class {
                witnesses.entry(class).or_insert_with(|| format!("{class} (`{}.{}`)", message.name, field.name));
            }
        }
        if witnesses.is_empty() {
            continue;
        }
        let carried: Vec<_> = witnesses.into_values().collect();
        let text = format!(
            "`{}` of the domain `{}` may call `{}` of `{}`, which carries {}",
            edge.caller.name,
            edge.caller.domain,
            edge.method.path,
            edge.callee.domain,
            carried.join(", "),
        );
        let help = "remove the caller, or give it a method of its own that carries public data only";
        findings.push(Diagnostic::error(LINT.code, edge.method.span.clone(), text, help));
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn only_public_data_crosses() {
        for class in ["USER", "PAYMENT", "MERCHANT"] {
            let line = planted(&[]).line("string title = 2");
            planted(&[(&line, &line.replace("PUBLIC", class))]).finds("SK0011", "rpc ListFeedProducts", class);
        }
    }

    #[test]
    fn what_crosses_is_found_in_requests_and_deep_inside_of_responses() {
        let filter = planted(&[]).line("string category = 3");
        planted(&[(&filter, &filter.replace("PUBLIC", "USER"))]).finds(
            "SK0011",
            "rpc ListFeedProducts",
            "USER (`sekat.shop.feed.v1.ListFeedProductsRequest.category`)",
        );
        let seller = planted(&[]).line("string display_name = 1");
        planted(&[(&seller, &seller.replace("PUBLIC", "MERCHANT"))]).finds(
            "SK0011",
            "rpc ListFeedProducts",
            "MERCHANT (`sekat.shop.feed.v1.FeedSeller.display_name`)",
        );
    }

    #[test]
    fn the_same_within_one_domain_is_lawful() {
        let title = planted(&[]).line("string title = 2");
        planted(&[
            (&title, &title.replace("PUBLIC", "MERCHANT")),
            (r#"callers: ["showcase"]"#, r#"callers: ["ledger"]"#),
            (" listener: LISTENER_FEED", ""),
        ])
        .finds_nothing();
    }
}
