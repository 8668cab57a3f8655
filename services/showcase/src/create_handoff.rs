//! Signing the way to the checkout.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use sekat_api_showcase::v1::{CreateHandoffRequest, Handoff};
use sekat_identity::handoff::{Good, HandoffClaims, MAX_GOODS, MAX_QUANTITY};
use sekat_identity::jws::{JwsError, SigningKey};
use sekat_mesh::Permit;
use sekat_service::{Invalid, Violations, timestamp};
use sekat_store::{RequestKey, Tx, Value, now_ms};

use crate::error::Error;
use crate::pin;
use crate::rpc::State;

/// Long enough to sign up on the way, half of what order would accept.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// Signs a handoff for pins of one page.
pub(crate) async fn create(state: &State, permit: &Permit, request: CreateHandoffRequest) -> Result<Handoff, Error> {
    let body = request.encode_to_vec();
    let items = checked(&request)?;
    let signer = Arc::clone(&state.key);
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    // A signature takes 20 µs, which the store's thread has: so the token speaks of the pins as they are.
    state.store.write_once(key, move |tx| sign(&claims(tx, &items)?, &signer)).await
}

struct Item {
    page: String,
    pin: String,
    quantity: u32,
}

fn checked(request: &CreateHandoffRequest) -> Result<Vec<Item>, Error> {
    let mut violations = Violations::default();
    violations.check((1..=MAX_GOODS).contains(&request.items.len()), "items", "must hold 1 to 20 pins");
    let mut items = Vec::new();
    for (index, item) in request.items.iter().enumerate() {
        let quantity = u32::try_from(item.quantity).unwrap_or_default();
        let in_range = (1..=MAX_QUANTITY).contains(&quantity);
        violations.check(in_range, format!("items[{index}].quantity"), "must be 1 to 99");
        let (page, pin) = pin::parts(&item.pin)?;
        items.push(Item { page: page.to_owned(), pin: pin.to_owned(), quantity });
    }
    let is_one_page = items.iter().all(|item| items.first().is_some_and(|first| first.page == item.page));
    violations.check(is_one_page, "items", "must be pins of one showcase");
    violations.finish()?;
    Ok(items)
}

fn sign(claims: &HandoffClaims, key: &SigningKey) -> Result<Handoff, Error> {
    let expire_ms = i64::try_from(claims.exp).unwrap_or(i64::MAX).saturating_mul(1000);
    let token = claims.sign(key).map_err(|error| match error {
        JwsError::TooLong => Invalid::field("items", "are too many for one handoff; take fewer").into(),
        error => Error::Signing(error),
    })?;
    Ok(Handoff { token, expire_time: Some(timestamp(expire_ms)) })
}

fn claims(tx: &mut dyn Tx, items: &[Item]) -> Result<HandoffClaims, Error> {
    let page = items.first().map(|item| item.page.clone()).unwrap_or_default();
    let row = tx.optional("SELECT campaign FROM showcases WHERE id = $1", &[Value::from(&page)])?;
    let campaign = campaign_name(row.ok_or(Error::NotFound("showcase"))?.text(0)?);
    let mut goods: BTreeMap<String, Good> = BTreeMap::new();
    for item in items {
        let row = tx.optional(
            "SELECT product, sku FROM pins WHERE id = $1 AND showcase = $2",
            &[Value::from(&item.pin), Value::from(&page)],
        )?;
        let row = row.ok_or(Error::NotFound("pin"))?;
        let (product, sku) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
        let good = goods.entry(sku.clone()).or_insert(Good { product, sku, quantity: 0 });
        good.quantity = good.quantity.saturating_add(item.quantity);
    }
    if goods.values().any(|good| good.quantity > MAX_QUANTITY) {
        return Err(Invalid::field("items", "must hold at most 99 pieces of one variant").into());
    }
    let now = u64::try_from(now_ms() / 1000).unwrap_or_default();
    let pin = match items {
        [item] => Some(format!("showcases/{page}/pins/{}", item.pin)),
        _ => None,
    };
    Ok(HandoffClaims {
        jti: uuid::Uuid::new_v4().to_string(),
        iat: now,
        exp: now.saturating_add(LIFE.as_secs()),
        showcase: format!("showcases/{page}"),
        pin,
        campaign,
        goods: goods.into_values().collect(),
    })
}

/// `campaigns/beli-lokal-12-12` of `Beli Lokal 12.12`; nothing of nothing.
fn campaign_name(title: &str) -> Option<String> {
    let words = title.to_lowercase();
    let words: Vec<&str> =
        words.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| format!("campaigns/{}", words.join("-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_becomes_a_resource_name() {
        assert_eq!(campaign_name("Beli Lokal 12.12").as_deref(), Some("campaigns/beli-lokal-12-12"));
        assert_eq!(campaign_name("#MelokalDenganBatik").as_deref(), Some("campaigns/melokaldenganbatik"));
        assert_eq!(campaign_name(""), None);
    }
}
