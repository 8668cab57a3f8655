//! The call graph as text, for comparison with a file that people review.

use std::fmt::Write as _;

use sekat_policy::Listener;

use crate::model::Model;

/// Every right to call, one a line, sorted: caller, callee, listener, path, scopes, request classes, response classes,
/// separated by tabs, below a line of headings. Scopes are in declaration order with `|` between them; none is `-`.
#[must_use]
pub fn caller_method_table(model: &Model) -> String {
    let mut rows: Vec<_> = model
        .edges()
        .map(|edge| {
            let listener = edge.service.policy.as_ref().map_or(Listener::Mesh, |policy| policy.listener);
            let scopes = edge.method.policy.iter().flat_map(|policy| policy.scopes.iter().flatten());
            // Scopes concern edges only; what else may call the method has none.
            let scopes: Vec<_> =
                scopes.filter(|_| edge.caller.edge).map(|scope| format!("{scope:?}").to_uppercase()).collect();
            format!(
                "{}\t{}\t{}\t{}\t{}\t{}\t{}\n",
                edge.caller.name,
                edge.callee.name,
                format!("{listener:?}").to_lowercase(),
                edge.method.path,
                if scopes.is_empty() { "-".to_owned() } else { scopes.join("|") },
                model.classes(&edge.method.request),
                model.classes(&edge.method.response),
            )
        })
        .collect();
    rows.sort();
    let mut table = "caller\tcallee\tlistener\tpath\tscopes\trequest\tresponse\n".to_owned();
    for row in rows {
        let _ = table.write_str(&row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lints::fixture::planted;

    #[test]
    fn the_table_has_a_row_for_each_right_to_call() {
        let table = caller_method_table(&planted(&[]).model());
        let expected = "\
caller\tcallee\tlistener\tpath\tscopes\trequest\tresponse
ledger\tshop\tmesh\t/sekat.shop.v1.OrderService/DeleteOrder\t-\tUSER|INTERNAL\t-
ledger\tshop\tmesh\t/sekat.shop.v1.OrderService/GetOrder\t-\tUSER\tPUBLIC|USER|INTERNAL
ledger\tshop\tmesh\t/sekat.shop.v1.OrderService/WatchOrders\t-\t-\tPUBLIC|USER|INTERNAL
shop\tbank\tmesh\t/sekat.bank.v1.BankService/CreateCharge\t-\tPAYMENT|INTERNAL\tPAYMENT
shop-edge\tshop\tmesh\t/sekat.shop.v1.OrderService/GetOrder\tBUYER\tUSER\tPUBLIC|USER|INTERNAL
shop-edge\tshop\tmesh\t/sekat.shop.v1.OrderService/UpdateOrder\tBUYER\tPUBLIC|INTERNAL\tPUBLIC|USER|INTERNAL
showcase\tshop\tfeed\t/sekat.shop.feed.v1.FeedService/ListFeedProducts\t-\tPUBLIC|INTERNAL\tPUBLIC|INTERNAL
";
        assert_eq!(table, expected);
    }
}
