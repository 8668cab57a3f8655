//! Signing in, staying signed in, signing out.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use sekat_api_account::v1::{
    CreateSessionRequest, RefreshSessionRequest, RevokeSessionRequest, Session, SessionClaims, SessionScope,
};
use sekat_identity::end_user::{Audience, EndUserClaims, ISSUER, Scope};
use sekat_identity::jws::SigningKey;
use sekat_mesh::{BoxError, Permit};
use sekat_store::{Tx, Value, now_ms};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::read_account::{self, Stored};
use crate::rpc::{State, timestamp};
use crate::validate::Violations;

/// How long an access token holds. A revoked session is refused sooner, because edges ask.
const ACCESS_LIFE_MS: i64 = 15 * 60 * 1000;
/// How long a session lasts without being refreshed.
const REFRESH_LIFE_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Random bytes in a refresh token: not to be guessed.
const REFRESH_BYTES: usize = 32;

/// Reads the key that signs access tokens.
pub(crate) fn signing_key(path: &Path) -> Result<SigningKey, BoxError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("SEKAT_TOKEN_KEY_FILE {} cannot be read: {error}", path.display()))?;
    Ok(SigningKey::from_pkcs8_pem(&text)?)
}

/// A session as it is stored.
struct Row {
    id: String,
    account: String,
    scope: SessionScope,
    refresh_hash: Vec<u8>,
    previous_refresh_hash: Option<Vec<u8>>,
    refresh_request_id: String,
    expire_ms: i64,
    is_revoked: bool,
}

/// Signs in. A repetition of the request gets the same session with fresh tokens.
pub(crate) async fn create(state: &State, permit: &Permit, request: CreateSessionRequest) -> Result<Session, Error> {
    let scope = request.scope();
    let CreateSessionRequest { email, password, request_id, .. } = request;
    let mut violations = Violations::default();
    violations.check(scope != SessionScope::Unspecified, "scope", "must be BUYER, SELLER or CREATOR");
    violations.check(!request_id.is_empty() && request_id.len() <= 64, "request_id", "must be a UUID");
    violations.finish()?;
    let email = email.to_lowercase();
    let stored = state.store.read(move |tx| read_account::by_email(tx, &email)).await?;
    let hash = stored.as_ref().map(|stored| stored.password_hash.clone());
    if !state.hasher.verify(password, hash).await? {
        return Err(Error::BadCredentials);
    }
    let stored = stored.ok_or(Error::BadCredentials)?;
    if scope == SessionScope::Creator && stored.account.creator_handle.is_empty() {
        return Err(Error::NoCreatorHandle);
    }
    let account = stored.id.clone();
    let secret = secret()?;
    let new_id = uuid::Uuid::now_v7().simple().to_string();
    let for_store = secret.clone();
    let session = state
        .store
        .write(Some(permit.access()), move |tx| open(tx, &new_id, &account, scope, &request_id, &for_store))
        .await?;
    let refresh_token = refresh_token(&session.id, &secret);
    issue(state, &stored, &session, refresh_token)
}

fn open(
    tx: &mut dyn Tx,
    new_id: &str,
    account: &str,
    scope: SessionScope,
    request_id: &str,
    secret: &str,
) -> Result<Row, Error> {
    let now = now_ms();
    tx.exec(
        "INSERT INTO sessions (id, account, scope, refresh_hash, request_id, expire_ms, create_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (account, request_id) DO NOTHING",
        &[
            Value::from(new_id),
            Value::from(account),
            i64::from(i32::from(scope)).into(),
            Value::from(digest(&refresh_token(new_id, secret))),
            Value::from(request_id),
            now.saturating_add(REFRESH_LIFE_MS).into(),
            now.into(),
        ],
    )?;
    // Either the row is new, or an earlier request with this id made it and its refresh token is replaced.
    let row = tx.one(
        "SELECT id FROM sessions WHERE account = $1 AND request_id = $2",
        &[Value::from(account), Value::from(request_id)],
    )?;
    let id = row.text(0)?.to_owned();
    let session = by_id(tx, &id)?.ok_or(Error::SessionEnded)?;
    if session.is_revoked || session.expire_ms <= now {
        return Err(Error::SessionEnded);
    }
    if session.scope != scope {
        return Err(Error::Store(sekat_store::StoreError::RequestIdReused));
    }
    let refresh_hash = digest(&refresh_token(&id, secret));
    tx.exec("UPDATE sessions SET refresh_hash = $2 WHERE id = $1", &[Value::from(&id), Value::from(refresh_hash)])?;
    Ok(session)
}

/// Trades a refresh token for new tokens. The old one works no more; a second use of it ends the session, because
/// then two parties hold it. The very request that traded it may be repeated.
pub(crate) async fn refresh(state: &State, permit: &Permit, request: RefreshSessionRequest) -> Result<Session, Error> {
    let RefreshSessionRequest { refresh_token: presented, request_id } = request;
    let id = presented.split_once('.').map(|(id, _)| id.to_owned()).ok_or(Error::SessionEnded)?;
    let presented_hash = digest(&presented);
    let next = refresh_token(&id, &secret()?);
    let next_hash = digest(&next);
    let refreshed = state
        .store
        .write::<_, Error>(Some(permit.access()), move |tx| rotate(tx, &id, &presented_hash, &next_hash, &request_id))
        .await?;
    let (stored, session) = refreshed.ok_or(Error::SessionEnded)?;
    issue(state, &stored, &session, next)
}

/// `None` if the session has ended, or ends now because its token was used twice.
fn rotate(
    tx: &mut dyn Tx,
    id: &str,
    presented: &[u8],
    next: &[u8],
    request_id: &str,
) -> Result<Option<(Stored, Row)>, Error> {
    let now = now_ms();
    let Some(session) = by_id(tx, id)?.filter(|session| !session.is_revoked && session.expire_ms > now) else {
        return Ok(None);
    };
    let is_current = session.refresh_hash == presented;
    let was_current = session.previous_refresh_hash.as_deref() == Some(presented);
    if !is_current && was_current && session.refresh_request_id != request_id {
        tx.exec("UPDATE sessions SET revoked = 1 WHERE id = $1", &[Value::from(id)])?;
        return Ok(None);
    }
    if !is_current && !was_current {
        return Ok(None);
    }
    tx.exec(
        "UPDATE sessions
         SET previous_refresh_hash = $2, refresh_hash = $3, refresh_request_id = $4, expire_ms = $5
         WHERE id = $1",
        &[
            Value::from(id),
            Value::from(presented),
            Value::from(next),
            Value::from(request_id),
            now.saturating_add(REFRESH_LIFE_MS).into(),
        ],
    )?;
    let stored = read_account::by_id(tx, &session.account)?.ok_or(Error::SessionEnded)?;
    Ok(Some((stored, session)))
}

/// Ends one of the caller's sessions.
pub(crate) async fn revoke(state: &State, permit: &Permit, request: RevokeSessionRequest) -> Result<(), Error> {
    let account = caller_account(permit)?;
    let prefix = format!("accounts/{account}/sessions/");
    let id = request.name.strip_prefix(&prefix).ok_or(Error::NotFound("session"))?.to_owned();
    let changed = state
        .store
        .write::<_, Error>(Some(permit.access()), move |tx| {
            Ok(tx.exec(
                "UPDATE sessions SET revoked = 1 WHERE id = $1 AND account = $2",
                &[Value::from(&id), Value::from(&account)],
            )?)
        })
        .await?;
    if changed == 0 { Err(Error::NotFound("session")) } else { Ok(()) }
}

/// Says whether the session of the caller's token still stands.
pub(crate) async fn verify(state: &State, permit: &Permit) -> Result<SessionClaims, Error> {
    let claims = permit.end_user().ok_or(Error::SessionEnded)?;
    let (name, expire_s) = (claims.sid.clone(), claims.exp);
    let id = name.rsplit('/').next().unwrap_or_default().to_owned();
    let session = state.store.read(move |tx| by_id(tx, &id)).await?;
    if session.is_none_or(|session| session.is_revoked) {
        return Err(Error::SessionEnded);
    }
    let expire_time = prost_types::Timestamp { seconds: i64::try_from(expire_s).unwrap_or(i64::MAX), nanos: 0 };
    Ok(SessionClaims { session: name, expire_time: Some(expire_time) })
}

/// The account id of whoever is signed in to commerce.
pub(crate) fn caller_account(permit: &Permit) -> Result<String, Error> {
    let claims = permit.end_user().ok_or(Error::SessionEnded)?;
    read_account::account_id(&claims.sub).map(str::to_owned).ok_or(Error::SessionEnded)
}

/// The shop of an account. One account has one shop, so its name follows from the account's random id and needs no
/// call to another service; the digest keeps the account from being read off a public name.
fn merchant_of(account: &str) -> String {
    let digest = Sha256::digest(format!("sekat.merchant.v1:{account}"));
    let id: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("merchants/m-{id}")
}

/// A refresh token names its session, so that it is found without a search by its digest.
fn refresh_token(session: &str, secret: &str) -> String {
    format!("{session}.{secret}")
}

fn secret() -> Result<String, Error> {
    let mut bytes = [0_u8; REFRESH_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

fn issue(state: &State, stored: &Stored, session: &Row, refresh_token: String) -> Result<Session, Error> {
    let now = now_ms();
    let expire_ms = now.saturating_add(ACCESS_LIFE_MS);
    let name = format!("accounts/{}/sessions/{}", stored.id, session.id);
    let merchant = (session.scope == SessionScope::Seller).then(|| merchant_of(&stored.id));
    let person = stored.account.name.clone();
    // A creator's token goes to the showcase: it holds the public handle and nothing that leads to the person.
    let (sub, sid, aud, scope) = match session.scope {
        SessionScope::Creator => (
            stored.account.creator_handle.clone(),
            format!("sessions/{}", session.id),
            Audience::ShowcaseEdge,
            Scope::Creator,
        ),
        SessionScope::Seller => (person, name.clone(), Audience::CommerceEdge, Scope::Seller),
        _ => (person, name.clone(), Audience::CommerceEdge, Scope::Buyer),
    };
    let seconds = |ms: i64| u64::try_from(ms / 1000).unwrap_or_default();
    let claims = EndUserClaims {
        iss: ISSUER.to_owned(),
        aud,
        sub,
        sid,
        scope,
        merchant: merchant.clone(),
        exp: seconds(expire_ms),
        iat: seconds(now),
    };
    Ok(Session {
        name,
        access_token: claims.sign(&state.key).map_err(Error::Signing)?,
        access_expire_time: Some(timestamp(expire_ms)),
        refresh_token,
        refresh_expire_time: Some(timestamp(now.saturating_add(REFRESH_LIFE_MS))),
        scope: session.scope.into(),
        account: stored.account.name.clone(),
        merchant: merchant.unwrap_or_default(),
    })
}

fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<Row>, Error> {
    let row = tx.optional(
        "SELECT id, account, scope, refresh_hash, previous_refresh_hash, refresh_request_id, expire_ms, revoked
         FROM sessions WHERE id = $1",
        &[Value::from(id)],
    )?;
    row.map(|row| {
        let scope = i32::try_from(row.int(2)?).ok().and_then(|number| SessionScope::try_from(number).ok());
        Ok(Row {
            id: row.text(0)?.to_owned(),
            account: row.text(1)?.to_owned(),
            scope: scope.unwrap_or(SessionScope::Unspecified),
            refresh_hash: row.bytes(3)?.to_vec(),
            previous_refresh_hash: row.opt_bytes(4)?.map(<[u8]>::to_vec),
            refresh_request_id: row.text(5)?.to_owned(),
            expire_ms: row.int(6)?,
            is_revoked: row.bool(7)?,
        })
    })
    .transpose()
}
