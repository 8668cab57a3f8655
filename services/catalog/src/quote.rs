//! Prices as they are now.

use std::collections::BTreeMap;

use sekat_api_catalog::v1::{QuoteLine, QuotePricesRequest, QuotePricesResponse, QuotedLine};
use sekat_money::{Currency, Money};
use sekat_service::{Invalid, Violations};
use sekat_store::{Tx, Value};

use crate::error::Error;
use crate::names::SkuName;
use crate::product;
use crate::rpc::State;

/// A cart has at most so many lines.
pub(crate) const MAX_LINES: usize = 50;
/// Pieces of one line.
pub(crate) const MAX_QUANTITY: i32 = 999;

/// Prices lines. What cannot be sold is marked, not refused: the buyer must see which line it is.
pub(crate) async fn quote(state: &State, request: QuotePricesRequest) -> Result<QuotePricesResponse, Error> {
    if request.lines.is_empty() || request.lines.len() > MAX_LINES {
        return Err(Invalid::field("lines", "must hold 1 to 50 lines").into());
    }
    let mut violations = Violations::default();
    // Lines of one sku count together, as they will when they are held.
    let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
    for (index, line) in request.lines.iter().enumerate() {
        let in_range = (1..=MAX_QUANTITY).contains(&line.quantity);
        violations.check(in_range, format!("lines[{index}].quantity"), "must be 1 to 999");
        let sum = wanted.entry(line.sku.clone()).or_default();
        *sum = sum.saturating_add(i64::from(line.quantity));
    }
    violations.finish()?;
    let operator = state.operator.clone();
    let lines = state
        .store
        .read(move |tx| {
            let of = |line: &QuoteLine| wanted.get(&line.sku).copied().unwrap_or(i64::MAX);
            request.lines.iter().map(|line| price(tx, &operator, line, of(line))).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let mut total = Money::zero(Currency::Idr);
    for line in &lines {
        if let Some(line_total) = &line.line_total {
            let amount = Money::try_from(line_total).map_err(|_| Error::Damaged("an amount"))?;
            total = total.checked_add(amount).map_err(|_| too_much())?;
        }
    }
    Ok(QuotePricesResponse { lines, total: Some(total.into()) })
}

/// One line, of a sku of which the whole request wants `wanted` pieces.
fn price(tx: &mut dyn Tx, operator: &str, line: &QuoteLine, wanted: i64) -> Result<QuotedLine, Error> {
    let mut quoted = QuotedLine { sku: line.sku.clone(), quantity: line.quantity, ..QuotedLine::default() };
    let name = SkuName::parse(&line.sku)?;
    let offered = tx.optional(
        "SELECT p.title, s.options, p.merchant, m.display_name, s.price, s.on_hand - s.reserved
         FROM skus s JOIN products p ON p.id = s.product JOIN merchants m ON m.id = p.merchant
         WHERE s.product = $1 AND s.code = $2 AND s.deleted = 0 AND p.deleted = 0 AND m.admitted = 1",
        &[Value::from(&name.product), Value::from(&name.code)],
    )?;
    let Some(offered) = offered else { return Ok(quoted) };
    let (title, label) = (offered.text(0)?, product::label(&product::map_of(offered.text(1)?)?));
    quoted.title = if label.is_empty() { title.to_owned() } else { format!("{title} ({label})") };
    quoted.merchant = format!("merchants/{}", offered.text(2)?);
    offered.text(3)?.clone_into(&mut quoted.seller_display_name);
    operator.clone_into(&mut quoted.operator_display_name);
    quoted.available = offered.int(5)? >= wanted;
    if quoted.available {
        let price = product::rupiah(offered.int(4)?)?;
        let quantity = u32::try_from(line.quantity).map_err(|_| too_much())?;
        let line_total = price.checked_mul(quantity).map_err(|_| too_much())?;
        quoted.unit_price = Some(price.into());
        quoted.line_total = Some(line_total.into());
    }
    Ok(quoted)
}

fn too_much() -> Error {
    Invalid::field("lines", "add up to more than an amount can hold").into()
}
