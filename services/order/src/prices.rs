//! Prices as they are now. None is stored with a cart: whoever sees a cart sees what it would cost at that moment.

use sekat_api_catalog::v1::{QuoteLine, QuotePricesRequest, QuotedLine};
use sekat_api_order::v1;
use sekat_mesh::Permit;
use sekat_money::{Currency, Money};

use crate::cart::Cart;
use crate::error::Error;
use crate::name;
use crate::shop::{self, Shop};

/// A line as catalog prices it. INVARIANT: one that is not available has no price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Priced {
    pub(crate) sku: String,
    pub(crate) quantity: u32,
    pub(crate) title: String,
    /// The seller of record, `merchants/{merchant}`, and its public name.
    pub(crate) merchant: String,
    pub(crate) seller: String,
    /// The price of one piece and of the line, if so many pieces can be had now.
    pub(crate) price: Option<(Money, Money)>,
}

/// Asks catalog for the prices of lines of a sku and a quantity.
pub(crate) async fn ask(shop: &Shop, lines: Vec<(String, u32)>) -> Result<Vec<Priced>, Error> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let asked = lines
        .iter()
        .map(|(sku, quantity)| QuoteLine { sku: sku.clone(), quantity: i32::try_from(*quantity).unwrap_or(i32::MAX) });
    let request = QuotePricesRequest { lines: asked.collect() };
    let reply = shop
        .peers
        .pricing
        .clone()
        .quote_prices(request)
        .await
        .map_err(|status| Error::Peer { peer: "catalog", status: Box::new(status) })?;
    read(&lines, reply.into_inner().lines)
}

/// The reply, checked against what was asked. The line's total is ours: money is never taken over unchecked.
fn read(asked: &[(String, u32)], lines: Vec<QuotedLine>) -> Result<Vec<Priced>, Error> {
    let answers = |((sku, quantity), line): (&(String, u32), &QuotedLine)| {
        line.sku == *sku && u32::try_from(line.quantity) == Ok(*quantity)
    };
    if asked.len() != lines.len() || !asked.iter().zip(&lines).all(answers) {
        return Err(Error::WrongReply("catalog"));
    }
    asked.iter().zip(lines).map(|((_, quantity), line)| priced(*quantity, line)).collect()
}

fn priced(quantity: u32, line: QuotedLine) -> Result<Priced, Error> {
    let price = match (line.available, &line.unit_price) {
        (false, _) => None,
        (true, None) => return Err(Error::WrongReply("catalog")),
        (true, Some(unit)) => {
            let unit = Money::try_from(unit)?;
            Some((unit, unit.checked_mul(quantity)?))
        }
    };
    Ok(Priced {
        sku: line.sku,
        quantity,
        title: line.title,
        merchant: line.merchant,
        seller: line.seller_display_name,
        price,
    })
}

/// The sum of what is available.
pub(crate) fn sum(lines: &[Priced]) -> Result<Money, Error> {
    let totals = lines.iter().filter_map(|line| line.price.map(|(_, total)| total));
    Ok(totals.into_iter().try_fold(Money::zero(Currency::Idr), Money::checked_add)?)
}

/// GetCart.
pub(crate) async fn get_cart(shop: &Shop, permit: &Permit, request: v1::GetCartRequest) -> Result<v1::Cart, Error> {
    let buyer = shop::buyer(permit)?.to_owned();
    let id = name::cart_id(&request.name)?.to_owned();
    let cart = shop.store.by(permit.deadline()).read(move |tx| Cart::of_buyer(tx, &id, &buyer)).await?;
    show(shop, cart.to_proto()).await
}

/// Puts today's prices into a cart.
pub(crate) async fn show(shop: &Shop, mut cart: v1::Cart) -> Result<v1::Cart, Error> {
    let quantity = |line: &v1::CartLine| u32::try_from(line.quantity).map_err(|_| Error::Unreadable("quantity"));
    let lines: Result<Vec<_>, Error> = cart.lines.iter().map(|line| Ok((line.sku.clone(), quantity(line)?))).collect();
    let prices = ask(shop, lines?).await?;
    cart.total = Some(sum(&prices)?.into());
    for (line, priced) in cart.lines.iter_mut().zip(prices) {
        line.available = priced.price.is_some();
        line.title = priced.title;
        line.seller_display_name = priced.seller;
        line.operator_display_name.clone_from(&shop.config.operator);
        line.unit_price = priced.price.map(|(unit, _)| unit.into());
        line.line_total = priced.price.map(|(_, total)| total.into());
    }
    Ok(cart)
}

#[cfg(test)]
mod tests {
    use sekat_api_google::r#type::Money as WireMoney;

    use super::*;

    fn line(quantity: i32, available: bool, units: Option<i64>) -> QuotedLine {
        let unit_price =
            units.map(|units| WireMoney { currency_code: "IDR".to_owned(), units, ..WireMoney::default() });
        QuotedLine { sku: "s".to_owned(), quantity, available, unit_price, ..QuotedLine::default() }
    }

    fn rupiah(units: i64) -> Money {
        Money::from_units(Currency::Idr, units).unwrap()
    }

    #[test]
    fn the_line_total_is_computed_here() {
        let asked = [("s".to_owned(), 3)];
        let lines = read(&asked, vec![line(3, true, Some(7_000))]).unwrap();
        assert_eq!(lines[0].price, Some((rupiah(7_000), rupiah(21_000))));
        assert_eq!(sum(&lines).unwrap(), rupiah(21_000));
        let gone = read(&asked, vec![line(3, false, Some(7_000))]).unwrap();
        assert_eq!((gone[0].price, sum(&gone).unwrap()), (None, rupiah(0)));
    }

    #[test]
    fn a_reply_to_another_question_is_refused() {
        let asked = [("s".to_owned(), 3)];
        for reply in [
            vec![],
            vec![line(2, true, Some(1))],
            vec![line(-3, true, Some(1))],
            vec![line(3, true, None)],
            vec![line(3, true, Some(1)), line(3, true, Some(1))],
        ] {
            assert!(matches!(read(&asked, reply), Err(Error::WrongReply("catalog"))));
        }
        assert!(matches!(read(&asked, vec![line(3, true, Some(i64::MAX))]), Err(Error::Amounts(_))));
    }
}
