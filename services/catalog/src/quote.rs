//! Prices as they are now.

use sekat_api_catalog::v1::{QuoteLine, QuotePricesRequest, QuotePricesResponse, QuotedLine};
use sekat_money::{Currency, Money};
use sekat_store::Tx;

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
        return Err(Error::Invalid(vec![("lines".to_owned(), "must hold 1 to 50 lines")]));
    }
    for (index, line) in request.lines.iter().enumerate() {
        if !(1..=MAX_QUANTITY).contains(&line.quantity) {
            return Err(Error::Invalid(vec![(format!("lines[{index}].quantity"), "must be 1 to 999")]));
        }
    }
    let operator = state.operator.clone();
    let lines = state
        .store
        .read(move |tx| request.lines.iter().map(|line| price(tx, &operator, line)).collect::<Result<Vec<_>, _>>())
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

fn price(tx: &mut dyn Tx, operator: &str, line: &QuoteLine) -> Result<QuotedLine, Error> {
    let mut quoted = QuotedLine { sku: line.sku.clone(), quantity: line.quantity, ..QuotedLine::default() };
    let name = SkuName::parse(&line.sku)?;
    let Some(product) = product::load_offered(tx, &name.product)? else { return Ok(quoted) };
    let Some(sku) = product.skus.iter().find(|sku| sku.code == name.code) else { return Ok(quoted) };
    let label = sku.label();
    quoted.title = if label.is_empty() { product.title.clone() } else { format!("{} ({label})", product.title) };
    quoted.merchant = format!("merchants/{}", product.merchant);
    quoted.seller_display_name.clone_from(&product.seller_display_name);
    operator.clone_into(&mut quoted.operator_display_name);
    quoted.available = sku.available() >= i64::from(line.quantity);
    if quoted.available {
        let quantity = u32::try_from(line.quantity).map_err(|_| too_much())?;
        let line_total = sku.price.checked_mul(quantity).map_err(|_| too_much())?;
        quoted.unit_price = Some(sku.price.into());
        quoted.line_total = Some(line_total.into());
    }
    Ok(quoted)
}

fn too_much() -> Error {
    Error::Invalid(vec![("lines".to_owned(), "add up to more than an amount can hold")])
}
