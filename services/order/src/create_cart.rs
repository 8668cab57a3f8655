//! CreateCart: opens a cart, filled from a handoff if one is given. A handoff is used in the transaction that creates
//! its cart, so that each fills one cart and a refused one leaves nothing behind.

use std::time::{Duration, SystemTime};

use prost::Message as _;
use sekat_api_order::v1;
use sekat_identity::handoff::{Good, HandoffClaims, MAX_LIFETIME};
use sekat_identity::jws::{JwsError, VerifyingKeys};
use sekat_mesh::Permit;
use sekat_store::{RequestKey, Tx, now_ms};

use crate::cart::{Cart, Line};
use crate::error::Error;
use crate::shop::{self, Shop};
use crate::{name, prices};

/// How long a used handoff is remembered: its token may live for 30 minutes, and clocks may differ by much less than
/// that.
const REMEMBERED: Duration = MAX_LIFETIME.saturating_mul(2);

/// How many forgettable handoffs one transaction removes: more than it adds, so that none pile up.
const FORGOTTEN_AT_ONCE: i64 = 10;

/// CreateCart.
pub(crate) async fn create_cart(
    shop: &Shop,
    permit: &Permit,
    request: v1::CreateCartRequest,
) -> Result<v1::Cart, Error> {
    let buyer = shop::buyer(permit)?.to_owned();
    // A repetition gets its cart even if the handoff has expired since, so a refusal only counts inside.
    let handoff = match request.handoff.as_str() {
        "" => Ok(None),
        token => verify(&shop.handoff_keys, token).map(Some),
    };
    let body = request.encode_to_vec();
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    let id = name::new_id();
    let created = shop
        .store
        .by(permit.deadline())
        .write_once(key, move |tx| {
            let handoff = handoff.as_ref().map_err(|error| refusal(*error))?;
            open(tx, &id, &buyer, handoff.as_ref())
        })
        .await?;
    prices::show(shop, created).await
}

fn verify(keys: &VerifyingKeys, token: &str) -> Result<HandoffClaims, JwsError> {
    let claims = HandoffClaims::verify(keys, token, SystemTime::now())?;
    // Catalog's ids are a little narrower than what a token may hold.
    if claims.goods.iter().all(|good| name::check_sku(&good.sku).is_ok()) {
        Ok(claims)
    } else {
        Err(JwsError::Claim("goods"))
    }
}

fn refusal(error: JwsError) -> Error {
    match error {
        JwsError::Expired => Error::HandoffExpired,
        error => Error::HandoffInvalid(error),
    }
}

/// Uses the handoff and creates the cart.
fn open(tx: &mut dyn Tx, id: &str, buyer: &str, handoff: Option<&HandoffClaims>) -> Result<v1::Cart, Error> {
    let now = now_ms();
    if let Some(handoff) = handoff {
        use_up(tx, &handoff.jti, now)?;
    }
    let goods = handoff.map(|handoff| handoff.goods.as_slice()).unwrap_or_default();
    let line = |good: &Good| Line { id: name::line_id(&good.sku), sku: good.sku.clone(), quantity: good.quantity };
    let cart = Cart {
        id: id.to_owned(),
        buyer: buyer.to_owned(),
        showcase: handoff.map(|handoff| handoff.showcase.clone()).unwrap_or_default(),
        campaign: handoff.and_then(|handoff| handoff.campaign.clone()).unwrap_or_default(),
        order: None,
        version: 1,
        create_ms: now,
        lines: goods.iter().map(line).collect(),
    };
    cart.insert(tx)?;
    Ok(cart.to_proto())
}

/// Takes note that a handoff is used; refused if it was used before.
fn use_up(tx: &mut dyn Tx, id: &str, now_ms: i64) -> Result<(), Error> {
    tx.exec(
        "DELETE FROM used_handoffs WHERE id IN
             (SELECT id FROM used_handoffs WHERE until_ms < $1 ORDER BY until_ms LIMIT $2)",
        &[now_ms.into(), FORGOTTEN_AT_ONCE.into()],
    )?;
    let remembered = i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX);
    let is_new = tx.exec(
        "INSERT INTO used_handoffs (id, until_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        &[id.into(), now_ms.saturating_add(remembered).into()],
    )?;
    if is_new > 0 { Ok(()) } else { Err(Error::HandoffUsed) }
}
