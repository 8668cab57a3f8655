//! SK0024: a package uses its own types and Google's, so that the crate of one contract needs no other.

use sekat_policy::{Diagnostic, Span};

use super::Lint;
use crate::model::{Model, is_own};

pub(super) const LINT: Lint =
    Lint { code: "SK0024", rule: "A package uses no type of another package of the contracts.", check };

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    let mut uses: Vec<(&str, &str, &Span)> = Vec::new();
    for message in model.own_messages() {
        for field in &message.fields {
            let ty = field.ty.message().or_else(|| field.ty.enumeration());
            uses.extend(ty.map(|ty| (message.package.as_str(), ty, &field.span)));
        }
    }
    for (service, method) in model.methods() {
        for ty in [&method.request, &method.response] {
            uses.push((&service.package, ty, &method.span));
        }
    }
    for (package, ty, span) in uses {
        let of = model.messages.get(ty).map(|message| &message.package);
        let of = of.or_else(|| model.enums.get(ty).map(|enumeration| &enumeration.package));
        // The policy's own types say who may do what; as data they would be neither own nor Google's.
        let policy = ty.starts_with("sekat.policy.v1.");
        if policy || of.is_some_and(|of| is_own(of) && of != package) {
            let text = format!("`{ty}` is used in `{package}`, whose crate does not know it");
            let help = "declare a type of its own in the package, with the fields that it needs";
            findings.push(Diagnostic::error(LINT.code, span.clone(), text, help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn packages_do_not_share_types() {
        let line = planted(&[]).line("int64 amount = 2");
        for ty in ["sekat.shop.v1.OrderState", "sekat.policy.v1.DataClass"] {
            let foreign = line.replace("int64", ty);
            planted(&[(&line, &foreign)]).finds("SK0024", &foreign, "whose crate does not know it");
        }
        let foreign = "  sekat.shop.v1.OrderLine amount = 2 [(google.api.field_behavior) = OUTPUT_ONLY];";
        planted(&[(&line, foreign)]).finds("SK0024", foreign, "whose crate does not know it");
        planted(&[(&line, &line.replace("int64", "google.type.Money"))]).finds_nothing();
    }

    #[test]
    fn methods_take_and_return_types_of_their_package() {
        let foreign = "rpc CreateCharge(CreateChargeRequest) returns (sekat.shop.v1.Order)";
        planted(&[("rpc CreateCharge(CreateChargeRequest) returns (Charge)", foreign)]).finds(
            "SK0024",
            foreign,
            "`sekat.shop.v1.Order` is used in `sekat.bank.v1`",
        );
    }
}
