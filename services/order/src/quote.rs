//! What ordering a cart costs, and the hash that stands for exactly that: the goods, their prices, the shipping, where
//! it goes and which state of the cart it is for. Pure, but for the verb QuoteOrder at the end.

use std::collections::BTreeSet;

use sekat_api_order::v1;
use sekat_mesh::Permit;
use sekat_money::{Currency, Money};
use sha2::{Digest, Sha256};

use crate::cart::Cart;
use crate::error::Error;
use crate::prices::{self, Priced};
use crate::shop::{self, Shop};
use crate::{name, order};

/// A priced cart.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) lines: Vec<order::Line>,
    pub(crate) subtotal: Money,
    pub(crate) shipping_fee: Money,
    pub(crate) total: Money,
    /// SHA-256 in hexadecimal.
    pub(crate) hash: String,
}

/// Quotes a cart at the given prices, to be shipped to `address` for `fee` a seller.
pub(crate) fn quote(cart: &Cart, prices: Vec<Priced>, address: &str, fee: Money) -> Result<Quote, Error> {
    if cart.lines.is_empty() {
        return Err(Error::CartEmpty);
    }
    let mut lines = Vec::with_capacity(prices.len());
    let mut subtotal = Money::zero(Currency::Idr);
    for priced in prices {
        let (price, total) = priced.price.ok_or(Error::OutOfStock)?;
        subtotal = subtotal.checked_add(total)?;
        let Priced { sku, quantity, title, merchant, seller, .. } = priced;
        lines.push(order::Line { sku, quantity, title, merchant, seller, price });
    }
    let sellers: BTreeSet<&str> = lines.iter().map(|line| line.merchant.as_str()).collect();
    let shipping_fee = sellers.iter().try_fold(Money::zero(Currency::Idr), |sum, _| sum.checked_add(fee))?;
    let total = subtotal.checked_add(shipping_fee)?;
    let hash = hash(cart, &lines, shipping_fee, address);
    Ok(Quote { lines, subtotal, shipping_fee, total, hash })
}

/// Every part has its length before it, so that no two quotes read alike.
fn hash(cart: &Cart, lines: &[order::Line], shipping_fee: Money, address: &str) -> String {
    let mut hash = Sha256::new_with_prefix("sekat.order.quote.v1");
    let mut part = |bytes: &[u8]| {
        hash.update(bytes.len().to_be_bytes());
        hash.update(bytes);
    };
    for text in [&cart.id, &cart.etag(), address] {
        part(text.as_bytes());
    }
    part(shipping_fee.currency().code().as_bytes());
    part(&shipping_fee.minor().to_be_bytes());
    for line in lines {
        for text in [&line.sku, &line.title, &line.merchant, &line.seller] {
            part(text.as_bytes());
        }
        part(&line.quantity.to_be_bytes());
        part(line.price.currency().code().as_bytes());
        part(&line.price.minor().to_be_bytes());
    }
    let hash: [u8; 32] = hash.finalize().into();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Prices a cart that was just read.
pub(crate) async fn of_cart(shop: &Shop, cart: &Cart, address: &str) -> Result<Quote, Error> {
    let lines = cart.lines.iter().map(|line| (line.sku.clone(), line.quantity)).collect();
    quote(cart, prices::ask(shop, lines).await?, address, shop.config.shipping_fee)
}

/// QuoteOrder.
pub(crate) async fn quote_order(
    shop: &Shop,
    permit: &Permit,
    request: v1::QuoteOrderRequest,
) -> Result<v1::OrderQuote, Error> {
    let buyer = shop::buyer(permit)?.to_owned();
    let id = name::cart_id(&request.cart)?.to_owned();
    name::check_address(&request.address, &buyer)?;
    let cart = shop.store.by(permit.deadline()).read(move |tx| Cart::of_buyer(tx, &id, &buyer)).await?;
    if cart.order.is_some() {
        return Err(Error::CartOrdered);
    }
    let quote = of_cart(shop, &cart, &request.address).await?;
    Ok(v1::OrderQuote {
        cart: request.cart,
        lines: quote.lines.iter().map(order::Line::to_proto).collect::<Result<_, _>>()?,
        subtotal: Some(quote.subtotal.into()),
        shipping_fee: Some(quote.shipping_fee.into()),
        total: Some(quote.total.into()),
        quote_hash: quote.hash,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cart;

    fn rupiah(units: i64) -> Money {
        Money::from_units(Currency::Idr, units).unwrap()
    }

    fn cart() -> Cart {
        let line = |sku: &str| cart::Line { id: name::line_id(sku), sku: sku.to_owned(), quantity: 2 };
        Cart {
            id: "c".to_owned(),
            buyer: "accounts/a".to_owned(),
            showcase: String::new(),
            campaign: String::new(),
            order: None,
            version: 1,
            create_ms: 0,
            lines: vec![line("products/tea/skus/a"), line("products/salt/skus/b")],
        }
    }

    fn priced(sku: &str, merchant: &str, units: i64) -> Priced {
        Priced {
            sku: sku.to_owned(),
            quantity: 2,
            title: "Teh".to_owned(),
            merchant: merchant.to_owned(),
            seller: "Toko".to_owned(),
            price: Some((rupiah(units), rupiah(units * 2))),
        }
    }

    fn prices() -> Vec<Priced> {
        vec![priced("products/tea/skus/a", "merchants/1", 10_000), priced("products/salt/skus/b", "merchants/2", 3_500)]
    }

    fn hash_of(cart: &Cart, prices: Vec<Priced>, address: &str, fee: i64) -> String {
        quote(cart, prices, address, rupiah(fee)).unwrap().hash
    }

    #[test]
    fn a_quote_adds_up_and_ships_once_for_each_seller() {
        let two_sellers = quote(&cart(), prices(), "addr", rupiah(12_000)).unwrap();
        assert_eq!(two_sellers.subtotal, rupiah(27_000));
        assert_eq!((two_sellers.shipping_fee, two_sellers.total), (rupiah(24_000), rupiah(51_000)));
        let one_seller: Vec<Priced> =
            prices().into_iter().map(|line| Priced { merchant: "merchants/1".to_owned(), ..line }).collect();
        assert_eq!(quote(&cart(), one_seller, "addr", rupiah(12_000)).unwrap().total, rupiah(39_000));
    }

    #[test]
    fn the_hash_stands_for_all_that_the_buyer_agreed_to() {
        let same = hash_of(&cart(), prices(), "addr", 12_000);
        assert_eq!(same, hash_of(&cart(), prices(), "addr", 12_000));
        assert_eq!(same.len(), 64);

        let changed = |change: fn(&mut Priced)| {
            let mut lines = prices();
            change(&mut lines[1]);
            hash_of(&cart(), lines, "addr", 12_000)
        };
        let others = [
            hash_of(&cart(), prices(), "another", 12_000),
            hash_of(&cart(), prices(), "addr", 12_100),
            hash_of(&Cart { version: 2, ..cart() }, prices(), "addr", 12_000),
            hash_of(&Cart { id: "d".to_owned(), ..cart() }, prices(), "addr", 12_000),
            hash_of(&cart(), prices().into_iter().rev().collect(), "addr", 12_000),
            changed(|line| line.price = Some((rupiah(3_600), rupiah(7_200)))),
            changed(|line| line.quantity = 1),
            changed(|line| line.title = "Garam".to_owned()),
            changed(|line| line.seller = "Warung".to_owned()),
        ];
        let distinct: BTreeSet<&String> = others.iter().chain([&same]).collect();
        assert_eq!(distinct.len(), others.len() + 1);
    }

    #[test]
    fn what_cannot_be_had_or_is_not_there_is_not_quoted() {
        let mut gone = prices();
        gone[0].price = None;
        assert!(matches!(quote(&cart(), gone, "addr", rupiah(0)), Err(Error::OutOfStock)));
        let empty = Cart { lines: Vec::new(), ..cart() };
        assert!(matches!(quote(&empty, Vec::new(), "addr", rupiah(0)), Err(Error::CartEmpty)));
        let dear = vec![
            Priced {
                price: Some((rupiah(1), Money::from_minor(Currency::Idr, i64::MAX - 7).unwrap())),
                ..priced("s", "m", 1)
            };
            2
        ];
        assert!(matches!(quote(&cart(), dear, "addr", rupiah(0)), Err(Error::Amounts(_))));
    }
}
