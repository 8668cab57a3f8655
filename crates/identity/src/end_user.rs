//! The token of an end user: `account` mints it, edges and services verify it. It is short-lived and holds for one
//! edge; a creator's names a public handle and no person.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::jws::{JwsError, SigningKey, VerifyingKeys, check_times};
use crate::resource_name::{is_id, is_name};

/// The `typ` of an end user's token.
pub const TYPE: &str = "sekat-user+jwt";
/// The one issuer of end users' tokens.
pub const ISSUER: &str = "spiffe://commerce.sekat.local/account";
/// The longest validity. There is no revocation list at the edges: a token that leaked is of use for so long.
pub const MAX_LIFETIME: Duration = Duration::from_hours(1);

/// The edge that a token holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Audience {
    /// `commerce-edge`, and the commerce services behind it.
    CommerceEdge,
    /// `showcase-edge`, and the showcase services behind it.
    ShowcaseEdge,
}

/// What an end user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Buys: carts, orders and payments of their own.
    Buyer,
    /// Acts for one merchant.
    Seller,
    /// Keeps a showcase under a public handle.
    Creator,
}

impl Scope {
    /// The only audience that this scope makes sense for.
    #[must_use]
    pub const fn audience(self) -> Audience {
        match self {
            Self::Buyer | Self::Seller => Audience::CommerceEdge,
            Self::Creator => Audience::ShowcaseEdge,
        }
    }
}

/// What an end user's token says. Times are in seconds since 1970.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndUserClaims {
    /// Always [`ISSUER`].
    pub iss: String,
    /// The edge that it holds for: that of the scope.
    pub aud: Audience,
    /// `accounts/{account}`; for a creator their public handle.
    pub sub: String,
    /// The session, `accounts/{account}/sessions/{session}` or `sessions/{session}`; for a creator only the latter.
    pub sid: String,
    /// What the user may do.
    pub scope: Scope,
    /// `merchants/{merchant}` for a seller, and nothing for anybody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<String>,
    /// The token is not valid from this second on.
    pub exp: u64,
    /// When it was issued.
    pub iat: u64,
}

impl EndUserClaims {
    /// Signs these claims as a token.
    ///
    /// # Errors
    /// If no verifier would accept them.
    pub fn sign(&self, key: &SigningKey) -> Result<String, JwsError> {
        self.check()?;
        key.sign(TYPE, self)
    }

    /// Verifies an end user's token for `audience` at the time `now`.
    ///
    /// # Errors
    /// If it is not exactly such a token, has expired, or is for the other edge.
    pub fn verify(keys: &VerifyingKeys, token: &str, audience: Audience, now: SystemTime) -> Result<Self, JwsError> {
        let claims: Self = keys.verify(TYPE, token)?;
        claims.check()?;
        claims.check_now(now)?;
        if claims.aud == audience { Ok(claims) } else { Err(JwsError::Audience) }
    }

    /// Checks only the times: all that can change for a token that was verified before, with the same keys.
    ///
    /// # Errors
    /// [`JwsError::Expired`] or [`JwsError::NotYetValid`].
    pub fn check_now(&self, now: SystemTime) -> Result<(), JwsError> {
        check_times(self.iat, self.exp, MAX_LIFETIME, now)
    }

    fn check(&self) -> Result<(), JwsError> {
        let own_session = self.sid.strip_prefix(&self.sub).and_then(|rest| rest.strip_prefix('/'));
        let person = is_name(&self.sub, &["accounts"]) && is_name(own_session.unwrap_or(&self.sid), &["sessions"]);
        let merchant = self.merchant.as_deref();
        let (who_fits, merchant_fits) = match self.scope {
            Scope::Buyer => (person, merchant.is_none()),
            Scope::Seller => (person, merchant.is_some_and(|name| is_name(name, &["merchants"]))),
            Scope::Creator => (is_id(&self.sub) && is_name(&self.sid, &["sessions"]), merchant.is_none()),
        };
        if self.iss != ISSUER {
            Err(JwsError::Claim("iss"))
        } else if self.aud != self.scope.audience() {
            Err(JwsError::Claim("aud"))
        } else if !who_fits {
            Err(JwsError::Claim("sub"))
        } else if !merchant_fits {
            Err(JwsError::Claim("merchant"))
        } else {
            Ok(())
        }
    }
}

/// Names no person, so that a log line with claims in it names none.
impl fmt::Debug for EndUserClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndUserClaims").field("scope", &self.scope).field("exp", &self.exp).finish_non_exhaustive()
    }
}
