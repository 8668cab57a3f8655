//! End users' tokens on inbound calls. A token that is present must hold; whether one is needed is a matter of the
//! method's scopes, when the caller is an edge.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use http::{HeaderMap, header};
use ring::digest::{SHA256, digest};
use sekat_identity::end_user::{Audience, EndUserClaims, Scope};
use sekat_identity::jws::VerifyingKeys;
use sekat_policy::EndUserScope;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::refusal::refuse;

/// Verified tokens that are remembered, about 300 bytes each: a signature costs 50 µs to verify, a hash 1 µs.
const REMEMBERED: usize = 4_096;

/// The verifier of one process.
pub(crate) struct EndUsers {
    keys: VerifyingKeys,
    keys_generation: watch::Receiver<u64>,
    audience: Audience,
    remembered: Mutex<Remembered>,
}

/// Tokens, by their SHA-256, that keys of this generation verified.
#[derive(Default)]
struct Remembered {
    keys_generation: u64,
    claims: HashMap<[u8; 32], Arc<EndUserClaims>>,
}

impl EndUsers {
    pub(crate) fn new(keys: VerifyingKeys, audience: Audience) -> Self {
        Self { keys_generation: keys.subscribe(), keys, audience, remembered: Mutex::default() }
    }

    /// The end user of a call; `None` if it carries no token.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` for any token that does not hold, without saying why.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Result<Option<Arc<EndUserClaims>>, Status> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let text = value.to_str().ok().filter(|_| values.next().is_none()).ok_or_else(invalid_token)?;
        let (scheme, token) = text.split_once(' ').ok_or_else(invalid_token)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(invalid_token());
        }
        self.verify(token).map(Some)
    }

    fn verify(&self, token: &str) -> Result<Arc<EndUserClaims>, Status> {
        let now = SystemTime::now();
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let generation = *self.keys_generation.borrow();
        if let Some(claims) = self.remembered(generation, &key) {
            return claims.check_now(now).map(|()| claims).map_err(|_| invalid_token());
        }
        let claims = EndUserClaims::verify(&self.keys, token, self.audience, now).map_err(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "an end user's token does not hold");
            invalid_token()
        })?;
        let claims = Arc::new(claims);
        self.remember(generation, key, &claims, now);
        Ok(claims)
    }

    fn remembered(&self, generation: u64, key: &[u8; 32]) -> Option<Arc<EndUserClaims>> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let claims = remembered.claims.get(key).filter(|_| remembered.keys_generation == generation)?;
        Some(Arc::clone(claims))
    }

    fn remember(&self, generation: u64, key: [u8; 32], claims: &Arc<EndUserClaims>, now: SystemTime) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.keys_generation != generation {
            *remembered = Remembered { keys_generation: generation, claims: HashMap::new() };
        }
        if remembered.claims.len() >= REMEMBERED {
            remembered.claims.retain(|_, claims| claims.check_now(now).is_ok());
        }
        if remembered.claims.len() >= REMEMBERED {
            // More users than entries: forgetting all costs each of them one more verification.
            remembered.claims.clear();
        }
        remembered.claims.insert(key, Arc::clone(claims));
    }
}

impl fmt::Debug for EndUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndUsers").field("audience", &self.audience).finish_non_exhaustive()
    }
}

/// Checks that an edge may forward this user's call to a method with these scopes.
///
/// # Errors
/// `UNAUTHENTICATED` without a token where one is needed, `PERMISSION_DENIED` with one of another scope.
pub(crate) fn check_scope(scopes: &[EndUserScope], claims: Option<&EndUserClaims>) -> Result<(), Status> {
    if scopes.contains(&EndUserScope::Anonymous) {
        return Ok(());
    }
    let Some(claims) = claims else {
        return Err(refuse(Code::Unauthenticated, "END_USER_REQUIRED", "sign in first"));
    };
    let scope = match claims.scope {
        Scope::Buyer => EndUserScope::Buyer,
        Scope::Seller => EndUserScope::Seller,
        Scope::Creator => EndUserScope::Creator,
    };
    if scopes.contains(&scope) { Ok(()) } else { Err(wrong_scope()) }
}

pub(crate) fn wrong_scope() -> Status {
    refuse(Code::PermissionDenied, "END_USER_SCOPE", "the end user's token is not for this call")
}

fn invalid_token() -> Status {
    refuse(Code::Unauthenticated, "END_USER_TOKEN", "the end user's token does not hold; sign in again")
}
