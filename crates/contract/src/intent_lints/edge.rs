//! SK0315: nobody may call a method that carries what the caller's domain may not hold.

use sekat_policy::{Diagnostic, Intent};

use super::IntentLint;
use super::index::Index;

pub(super) const LINT: IntentLint = IntentLint {
    code: "SK0315",
    rule: "The methods of an edge carry no class that the domain of the caller may not hold, in either direction.",
    check,
};

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    let index = Index::of(intent);
    for edge in &intent.edges {
        let Some(method) = index.methods.get(edge.method.as_str()) else { continue };
        for (what, classes) in [("returns", &method.response), ("takes", &method.request)] {
            if let Some(forbidden) = index.forbidden(&edge.caller, classes) {
                let text = format!("`{}` may call `{}`, which {what} {forbidden}", edge.caller, edge.method);
                let help = "remove the edge, or give the caller a method of its own that carries nothing of it";
                findings.push(Diagnostic::error(LINT.code, edge.span.clone(), text, help));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::intent_lints::fixture::planted;

    #[test]
    fn a_caller_gets_what_its_domain_may_hold() {
        let edge = "  - {from: showcase, to: catalog";
        let extra = |method: &str, to: &str, from: &str| {
            let added = format!("  - {{from: {from}, to: {to}, methods: [{method}], purpose: test}}\n{edge}");
            planted(&[(edge, &added), ("  - deny: {domain: \"!commerce\", class: payment}\n", "")])
        };
        extra("shop.v1.Orders/GetOrder", "shop", "showcase").finds(
            "SK0315",
            "Orders/GetOrder",
            "which returns `user.address`, which the domain `showcase` may not hold",
        );
        let charge = extra("bank.v1.Bank/Charge", "bank", "showcase");
        charge.finds_among_others("SK0315", "which returns `payment`, `payment.bank`, `payment.card`");
        charge.finds_among_others("SK0315", "which takes `payment.card`");
        extra("shop.v1.Orders/GetOrder", "shop", "bank").finds_nothing();
    }
}
