//! Signing the way to the checkout.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use sekat_api_showcase::v1::{CreateHandoffRequest, Handoff};
use sekat_identity::handoff::{Good, HandoffClaims, MAX_GOODS, MAX_QUANTITY};
use sekat_identity::jws::SigningKey;
use sekat_mesh::{BoxError, Permit};
use sekat_store::{RequestKey, Tx, Value, now_ms};

use crate::error::Error;
use crate::pin;
use crate::rpc::{State, encoded, timestamp};

/// Long enough to sign up on the way, half of what order would accept.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// Reads the key that signs handoffs.
pub(crate) fn signing_key(path: &Path) -> Result<SigningKey, BoxError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("SEKAT_HANDOFF_KEY_FILE {} cannot be read: {error}", path.display()))?;
    Ok(SigningKey::from_pkcs8_pem(&text)?)
}

/// Signs a handoff for pins of one page.
pub(crate) async fn create(state: &State, permit: &Permit, request: CreateHandoffRequest) -> Result<Handoff, Error> {
    let body = encoded(&request);
    if request.items.is_empty() || request.items.len() > MAX_GOODS {
        return Err(Error::Invalid(vec![("items".to_owned(), "must hold 1 to 20 pins")]));
    }
    let mut items = Vec::new();
    for (index, item) in request.items.iter().enumerate() {
        let quantity = u32::try_from(item.quantity).ok().filter(|quantity| (1..=MAX_QUANTITY).contains(quantity));
        let Some(quantity) = quantity else {
            return Err(Error::Invalid(vec![(format!("items[{index}].quantity"), "must be 1 to 99")]));
        };
        let (page, id) = pin::parts(&item.pin)?;
        items.push((page.to_owned(), id.to_owned(), quantity));
    }
    // The claims are read in one snapshot and signed outside of the store's thread, then kept for repetitions.
    let claims = state.store.read(move |tx| claims(tx, &items)).await?;
    let expire_ms = i64::try_from(claims.exp).unwrap_or(i64::MAX).saturating_mul(1000);
    let token = claims.sign(&state.key).map_err(Error::Signing)?;
    let handoff = Handoff { token, expire_time: Some(timestamp(expire_ms)) };
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    state.store.write_once(key, move |_| Ok(handoff.clone())).await
}

fn claims(tx: &mut dyn Tx, items: &[(String, String, u32)]) -> Result<HandoffClaims, Error> {
    let page = items.first().map(|(page, ..)| page.clone()).unwrap_or_default();
    if items.iter().any(|(other, ..)| *other != page) {
        return Err(Error::Invalid(vec![("items".to_owned(), "must be pins of one showcase")]));
    }
    let row = tx.optional("SELECT campaign FROM showcases WHERE id = $1", &[Value::from(&page)])?;
    let campaign = campaign_name(row.ok_or(Error::NotFound("showcase"))?.text(0)?);
    let mut goods: BTreeMap<String, Good> = BTreeMap::new();
    for (_, id, quantity) in items {
        let row = tx.optional(
            "SELECT product, sku FROM pins WHERE id = $1 AND showcase = $2",
            &[Value::from(id), Value::from(&page)],
        )?;
        let row = row.ok_or(Error::NotFound("pin"))?;
        let (product, sku) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
        let good = goods.entry(sku.clone()).or_insert(Good { product, sku, quantity: 0 });
        good.quantity = good.quantity.saturating_add(*quantity).min(MAX_QUANTITY);
    }
    let now = u64::try_from(now_ms() / 1000).unwrap_or_default();
    let pin = match items {
        [(_, id, _)] => Some(format!("showcases/{page}/pins/{id}")),
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
