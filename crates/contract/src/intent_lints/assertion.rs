//! SK0320: what must never be possible is not declared, directly or through others.

use std::collections::BTreeMap;

use sekat_policy::intent::{Assertion, Classes, Subject, Target, Workload};
use sekat_policy::{Diagnostic, Intent};

use super::flow::{Flows, Reached, Ways};
use super::{IntentLint, quoted};

pub(super) const LINT: IntentLint = IntentLint {
    code: "SK0320",
    rule: "No assertion is violated by what is declared, directly or, unless it says otherwise, through others.",
    check,
};

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    if intent.assertions.is_empty() {
        return;
    }
    let flows = Flows::of(intent);
    let (all_ways, mut ways) = (Ways::of(intent), BTreeMap::new());
    for assertion in &intent.assertions {
        for workload in intent.workloads.iter().filter(|workload| is_subject(intent, &assertion.from, workload)) {
            let name = workload.name.as_str();
            let found = match &assertion.target {
                Target::Class(class) => obtained(intent, &flows, assertion, name, class),
                _ => reached(intent, ways.entry(name).or_insert_with(|| all_ways.from(name)), assertion, workload),
            };
            if let Some((text, help)) = found {
                findings.push(Diagnostic::error(LINT.code, assertion.span.clone(), text, help));
            }
        }
    }
}

fn is_subject(intent: &Intent, subject: &Subject, workload: &Workload) -> bool {
    match subject {
        Subject::Anybody => true,
        Subject::Workload(name) => workload.name == *name,
        Subject::Domain(name) => workload.domain == *name,
        // Not to be in a domain that does not exist is a typing error (SK0311), and no statement about everybody.
        Subject::NotDomain(name) => intent.domain(name).is_some() && workload.domain != *name,
    }
}

/// That a workload obtains the class, or one that it implies.
fn obtained<'a>(
    intent: &'a Intent,
    flows: &Flows<'a>,
    assertion: &Assertion,
    workload: &'a str,
    class: &'a str,
) -> Option<(String, &'static str)> {
    let implied = intent.closed(&Classes::from([class.to_owned()]));
    // The names live as long as the intent, which has all classes that a flow can hold.
    let wanted = intent.classes.keys().filter(|known| implied.contains(*known));
    let ways: Vec<_> = wanted
        .filter_map(|class| flows.way(workload, class).map(|(is_direct, way)| (!is_direct, class, way)))
        .filter(|(through_others, ..)| assertion.transitive || !through_others)
        .collect();
    let (through_others, class, way) = ways.into_iter().min_by_key(|(through_others, ..)| *through_others)?;
    let how = if through_others { "through others" } else { "directly" };
    let help = if through_others {
        "state the `purpose` of an edge on the way, which says that only its method's classes pass, or remove an edge"
    } else {
        "remove the edge, the client or the consumer, or the assertion if it is meant"
    };
    Some((format!("`{workload}` can obtain `{class}` {how}: {way}"), help))
}

/// That a workload reaches the target.
fn reached(
    intent: &Intent,
    ways: &Reached<'_>,
    assertion: &Assertion,
    workload: &Workload,
) -> Option<(String, &'static str)> {
    let is_target = |name: &str| match &assertion.target {
        Target::Workload(target) => name == target,
        Target::Domain(domain) => {
            workload.domain != *domain && intent.workload(name).is_some_and(|it| it.domain == *domain)
        }
        Target::Internet => intent.externals.iter().any(|external| external.name == name),
        Target::Class(_) => false,
    };
    let way = ways.nearest(is_target)?;
    let is_direct = way.len() <= 2;
    if !is_direct && !assertion.transitive {
        return None;
    }
    let hops: Vec<_> = way.iter().copied().map(quoted).collect();
    let how = if is_direct { "directly" } else { "through others" };
    let help = if is_direct {
        "remove the edge or the client, or the assertion if it is meant"
    } else {
        "state the `purpose` of an edge on the way, which says that it opens no way further, or remove an edge"
    };
    let target = way.last().copied().map_or_else(String::new, quoted);
    Some((format!("`{}` can reach {target} {how}: {}", workload.name, hops.join(" → ")), help))
}

#[cfg(test)]
mod tests {
    use crate::intent_lints::fixture::planted;

    const PRICES: (&str, &str) = (", purpose: prices}", "}");
    const CHECKOUT: (&str, &str) = (", purpose: checkout}", "}");

    #[test]
    fn a_class_is_obtained_directly() {
        let store = ("ports: {pg: 5432}, clients: [bank]", "ports: {pg: 5432}, clients: [bank, showcase]");
        let policy = planted(&[store]);
        policy
            .finds_among_others("SK0320", "`showcase` can obtain `payment` directly: `showcase` has it from `bank-db`");
        policy.finds_among_others("SK0320", "`showcase` can reach `bank-db` directly: `showcase` → `bank-db`");
    }

    #[test]
    fn a_class_is_obtained_through_others_unless_a_purpose_stands_between() {
        planted(&[PRICES]).finds(
            "SK0320",
            "class: payment",
            "`showcase` can obtain `payment` through others: `showcase` has it from `catalog` by \
             `/catalog.v1.Catalog/Get`, an edge without purpose; `catalog` has it from `shop` by \
             `/catalog.v1.Catalog/Get`, an edge without purpose; `shop` has it from `bank` by `/bank.v1.Bank/Charge`",
        );
        let directly_only = ("\"!commerce\", class: payment}", "\"!commerce\", class: payment, transitive: false}");
        planted(&[PRICES, directly_only]).finds_nothing();
        planted(&[]).finds_nothing();
    }

    #[test]
    fn a_narrower_class_is_part_of_what_is_denied_and_a_broader_one_is_not() {
        let all = ("domain: \"!commerce\", class: payment", "from: shop, class: payment.bank");
        planted(&[all]).finds("SK0320", "payment.bank", "`shop` can obtain `payment.bank` directly");
        let card = ("response: [payment]}", "response: [payment.card]}");
        planted(&[all, card]).finds_nothing();
        planted(&[("domain: \"!commerce\", class: payment", "from: shop, class: payment"), card]).finds(
            "SK0320",
            "class: payment",
            "`shop` can obtain `payment.card` directly",
        );
    }

    #[test]
    fn a_place_is_reached_through_edges_without_purpose() {
        let internet = ("{from: showcase, to: internet}", "{from: shop, to: internet}");
        planted(&[internet, CHECKOUT]).finds("SK0320", "internet", "through others: `shop` → `bank` → `banks`");
        planted(&[internet]).finds_nothing();
        planted(&[("{from: showcase, to: internet}", "{from: bank, to: internet}")]).finds(
            "SK0320",
            "internet",
            "`bank` can reach `banks` directly",
        );
        let all = ("{domain: showcase, to: bank-db}", "{domain: showcase, toDomain: commerce}");
        planted(&[all]).finds("SK0320", "toDomain", "`showcase` can reach `catalog` directly");
        let nobody = ("{domain: showcase, to: bank-db}", "{domain: commerce, toDomain: showcase}");
        planted(&[nobody]).finds_nothing();
    }

    #[test]
    fn anybody_is_everybody() {
        planted(&[("{domain: showcase, to: bank-db}", "{to: bank-db}")]).finds(
            "SK0320",
            "to: bank-db",
            "`bank` can reach `bank-db` directly",
        );
    }
}
