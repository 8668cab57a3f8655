//! The handoff: what a buyer wants to buy, signed by `showcase`, carried by the app and verified by `order` without a
//! call. INVARIANT: it has no field for a person or a device, and a token with any further field is refused.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::jws::{JwsError, SigningKey, VerifyingKeys, check_times};
use crate::resource_name::is_name;

/// The `typ` of a handoff.
pub const TYPE: &str = "sekat-handoff+jwt";
/// The longest validity: long enough to sign in or up on the way, short enough that the goods are still wanted.
pub const MAX_LIFETIME: Duration = Duration::from_mins(30);
/// The most goods in one handoff.
pub const MAX_GOODS: usize = 20;
/// The largest quantity of one good.
pub const MAX_QUANTITY: u32 = 99;
/// The longest handoff identifier, in bytes: a UUID has 36.
pub const MAX_ID_BYTES: usize = 64;

/// What a handoff says. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandoffClaims {
    /// The handoff's own identifier; who accepts it keeps it and accepts it once.
    pub jti: String,
    /// When it was issued.
    pub iat: u64,
    /// It is not valid from this second on, at most [`MAX_LIFETIME`] after `iat`.
    pub exp: u64,
    /// The showcase that is credited, `showcases/{showcase}`.
    pub showcase: String,
    /// The pin in that showcase, `showcases/{showcase}/pins/{pin}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// The campaign that is credited, `campaigns/{campaign}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// What is wanted: 1 to [`MAX_GOODS`] goods, each named once.
    pub goods: Vec<Good>,
}

/// One wanted good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Good {
    /// `products/{product}`.
    pub product: String,
    /// `products/{product}/skus/{sku}` of the same product.
    pub sku: String,
    /// How many: 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
}

impl HandoffClaims {
    /// Signs these claims as a token.
    ///
    /// # Errors
    /// If no verifier would accept them.
    pub fn sign(&self, key: &SigningKey) -> Result<String, JwsError> {
        self.check()?;
        key.sign(TYPE, self)
    }

    /// Verifies a handoff at the time `now`. That it was not used before is the caller's to check, by its `jti`.
    ///
    /// # Errors
    /// If it is not exactly a handoff, has expired, or a claim is out of its limits.
    pub fn verify(keys: &VerifyingKeys, token: &str, now: SystemTime) -> Result<Self, JwsError> {
        let claims: Self = keys.verify(TYPE, token)?;
        claims.check()?;
        check_times(claims.iat, claims.exp, MAX_LIFETIME, now)?;
        Ok(claims)
    }

    fn check(&self) -> Result<(), JwsError> {
        let under = |name: &str, parent: &str, collections: &[&str]| {
            is_name(name, collections) && name.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'))
        };
        let jti_fits = (1..=MAX_ID_BYTES).contains(&self.jti.len()) && self.jti.bytes().all(|b| b.is_ascii_graphic());
        let pin_fits = |pin: &String| under(pin, &self.showcase, &["showcases", "pins"]);
        let good_fits = |good: &Good| {
            is_name(&good.product, &["products"])
                && under(&good.sku, &good.product, &["products", "skus"])
                && (1..=MAX_QUANTITY).contains(&good.quantity)
        };
        let named_once = || {
            let named: std::collections::BTreeSet<&str> = self.goods.iter().map(|good| good.sku.as_str()).collect();
            named.len() == self.goods.len()
        };
        if !jti_fits {
            Err(JwsError::Claim("jti"))
        } else if !is_name(&self.showcase, &["showcases"]) {
            Err(JwsError::Claim("showcase"))
        } else if !self.pin.as_ref().is_none_or(pin_fits) {
            Err(JwsError::Claim("pin"))
        } else if !self.campaign.as_ref().is_none_or(|name| is_name(name, &["campaigns"])) {
            Err(JwsError::Claim("campaign"))
        } else if !(1..=MAX_GOODS).contains(&self.goods.len()) || !self.goods.iter().all(good_fits) || !named_once() {
            Err(JwsError::Claim("goods"))
        } else {
            Ok(())
        }
    }
}
