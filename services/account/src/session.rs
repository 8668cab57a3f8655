//! Signing in, staying signed in, signing out.

use prost::Message as _;
use sekat_api_account::v1::{
    CreateSessionRequest, RefreshSessionRequest, RevokeSessionRequest, Session, SessionClaims, SessionScope,
};
use sekat_identity::end_user::{Audience, EndUserClaims, ISSUER, Scope};
use sekat_mesh::Permit;
use sekat_service::{Invalid, timestamp};
use sekat_store::{RequestKey, StoreError, Tx, Value, now_ms};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::read_account::{self, Stored};
use crate::refresh_token::{Presented, RefreshTokens, digest};
use crate::rpc::State;
use crate::validate;

/// How long an access token holds. A revoked session is refused sooner, because edges ask.
const ACCESS_LIFE_MS: i64 = 15 * 60 * 1000;
/// How long a session lasts without being refreshed.
const REFRESH_LIFE_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Sessions of one account: more devices than anybody has. The oldest makes room.
const MAX_SESSIONS: i64 = 100;

/// A session as it is stored.
struct Row {
    id: String,
    account: String,
    scope: SessionScope,
    /// The number of the refresh token that works.
    generation: i64,
    refresh_hash: Vec<u8>,
    refresh_request_id: String,
    expire_ms: i64,
    is_revoked: bool,
}

/// Signs in. A repetition of the request gets the same session with fresh tokens.
pub(crate) async fn create(state: &State, permit: &Permit, request: CreateSessionRequest) -> Result<Session, Error> {
    let scope = request.scope();
    let CreateSessionRequest { email, password, request_id, .. } = request;
    if scope == SessionScope::Unspecified {
        return Err(Invalid::field("scope", "must be BUYER, SELLER or CREATOR").into());
    }
    validate::request_id(&request_id)?;
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
    let id = uuid::Uuid::now_v7().simple().to_string();
    let tokens = state.refresh_tokens.clone();
    let session = state
        .store
        .write(Some(permit.access()), move |tx| open(tx, &tokens, &id, &account, scope, &request_id))
        .await?;
    issue(state, &stored, &session)
}

/// Either a new session, or the one that an earlier request with this id made.
fn open(
    tx: &mut dyn Tx,
    tokens: &RefreshTokens,
    new_id: &str,
    account: &str,
    scope: SessionScope,
    request_id: &str,
) -> Result<Row, Error> {
    let now = now_ms();
    let is_new = tx.exec(
        "INSERT INTO sessions (id, account, scope, generation, refresh_hash, request_id, expire_ms, create_ms)
         VALUES ($1, $2, $3, 1, $4, $5, $6, $7)
         ON CONFLICT (account, request_id) DO NOTHING",
        &[
            Value::from(new_id),
            Value::from(account),
            i64::from(i32::from(scope)).into(),
            Value::from(digest(&tokens.make(new_id, 1))),
            Value::from(request_id),
            now.saturating_add(REFRESH_LIFE_MS).into(),
            now.into(),
        ],
    )? > 0;
    if is_new {
        make_room(tx, account, now)?;
    }
    let row = tx.one(
        "SELECT id FROM sessions WHERE account = $1 AND request_id = $2",
        &[Value::from(account), Value::from(request_id)],
    )?;
    let session = by_id(tx, row.text(0)?)?.filter(|session| session.stands(now)).ok_or(Error::SessionEnded)?;
    if session.scope != scope {
        return Err(StoreError::RequestIdReused.into());
    }
    if !is_new {
        // The same token as before, unless the key has changed since.
        let refresh_hash = digest(&tokens.make(&session.id, session.generation));
        tx.exec(
            "UPDATE sessions SET refresh_hash = $2 WHERE id = $1",
            &[Value::from(&session.id), Value::from(refresh_hash)],
        )?;
    }
    Ok(session)
}

fn make_room(tx: &mut dyn Tx, account: &str, now: i64) -> Result<(), Error> {
    tx.exec(
        "DELETE FROM sessions WHERE account = $1 AND (expire_ms <= $2 OR id NOT IN
             (SELECT id FROM sessions WHERE account = $1 ORDER BY create_ms DESC, id DESC LIMIT $3))",
        &[Value::from(account), now.into(), MAX_SESSIONS.into()],
    )?;
    Ok(())
}

/// Trades a refresh token for new tokens. The old one works no more; a second use of it ends the session, because
/// then two parties hold it. The very request that traded it may be repeated.
pub(crate) async fn refresh(state: &State, permit: &Permit, request: RefreshSessionRequest) -> Result<Session, Error> {
    let RefreshSessionRequest { refresh_token, request_id } = request;
    validate::request_id(&request_id)?;
    let presented = state.refresh_tokens.read(&refresh_token).ok_or(Error::SessionEnded)?;
    let tokens = state.refresh_tokens.clone();
    let refreshed = state
        .store
        .write::<_, Error>(Some(permit.access()), move |tx| rotate(tx, &tokens, &presented, &request_id))
        .await?;
    let (stored, session) = refreshed.ok_or(Error::SessionEnded)?;
    issue(state, &stored, &session)
}

/// What becomes of a session whose refresh token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// The next token is made.
    Rotate,
    /// The request was answered before, and is again.
    Repeat,
    /// Two parties hold its tokens.
    End,
    /// The token is not one of this session's.
    Refuse,
    /// The request id was used with another token.
    OtherRequest,
}

fn decide(session: &Row, presented: &Presented, request_id: &str) -> Decision {
    let is_same_request = session.refresh_request_id == request_id;
    if presented.digest == session.refresh_hash {
        return if is_same_request { Decision::OtherRequest } else { Decision::Rotate };
    }
    match presented.generation {
        Some(number) if number.saturating_add(1) == session.generation && is_same_request => Decision::Repeat,
        Some(number) if number < session.generation => Decision::End,
        _ => Decision::Refuse,
    }
}

/// `None` if the session has ended, or ends now because its token was used twice.
fn rotate(
    tx: &mut dyn Tx,
    tokens: &RefreshTokens,
    presented: &Presented,
    request_id: &str,
) -> Result<Option<(Stored, Row)>, Error> {
    let now = now_ms();
    let id = presented.session.as_str();
    let Some(session) = by_id(tx, id)?.filter(|session| session.stands(now)) else { return Ok(None) };
    let generation = match decide(&session, presented, request_id) {
        Decision::Rotate => session.generation.saturating_add(1),
        Decision::Repeat => session.generation,
        Decision::Refuse => return Ok(None),
        Decision::OtherRequest => return Err(StoreError::RequestIdReused.into()),
        Decision::End => {
            tx.exec("UPDATE sessions SET revoked = 1 WHERE id = $1", &[Value::from(id)])?;
            return Ok(None);
        }
    };
    tx.exec(
        "UPDATE sessions SET generation = $2, refresh_hash = $3, refresh_request_id = $4, expire_ms = $5
         WHERE id = $1",
        &[
            Value::from(id),
            generation.into(),
            Value::from(digest(&tokens.make(id, generation))),
            Value::from(request_id),
            now.saturating_add(REFRESH_LIFE_MS).into(),
        ],
    )?;
    let stored = read_account::by_id(tx, &session.account)?.ok_or(Error::SessionEnded)?;
    Ok(by_id(tx, id)?.map(|session| (stored, session)))
}

/// Ends one of the caller's sessions.
pub(crate) async fn revoke(state: &State, permit: &Permit, request: RevokeSessionRequest) -> Result<(), Error> {
    let body = request.encode_to_vec();
    let own = permit.account().map_err(|_| Error::SessionEnded)?;
    let id = request.name.strip_prefix(own).and_then(|rest| rest.strip_prefix("/sessions/"));
    let id = id.ok_or(Error::NotFound("session"))?.to_owned();
    let account = read_account::account_id(own).ok_or(Error::NotFound("session"))?.to_owned();
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    state
        .store
        .write_once::<(), Error>(key, move |tx| {
            let changed = tx.exec(
                "UPDATE sessions SET revoked = 1 WHERE id = $1 AND account = $2",
                &[Value::from(&id), Value::from(&account)],
            )?;
            if changed == 0 { Err(Error::NotFound("session")) } else { Ok(()) }
        })
        .await
}

/// Says whether the session of the caller's token still stands.
pub(crate) async fn verify(state: &State, permit: &Permit) -> Result<SessionClaims, Error> {
    let claims = permit.end_user().ok_or(Error::SessionEnded)?;
    let id = claims.sid.rsplit('/').next().unwrap_or_default().to_owned();
    let session = state.store.read(move |tx| by_id(tx, &id)).await?;
    if !session.is_some_and(|session| session.stands(now_ms())) {
        return Err(Error::SessionEnded);
    }
    let expire_time = timestamp(i64::try_from(claims.exp).unwrap_or(i64::MAX).saturating_mul(1000));
    Ok(SessionClaims { session: claims.sid.clone(), expire_time: Some(expire_time) })
}

/// The shop of an account. One account has one shop, so its name follows from the account's random id and needs no
/// call to another service; the digest keeps the account from being read off a public name.
fn merchant_of(account: &str) -> String {
    let digest = Sha256::digest(format!("sekat.merchant.v1:{account}"));
    let id: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("merchants/m-{id}")
}

fn issue(state: &State, stored: &Stored, session: &Row) -> Result<Session, Error> {
    let now = now_ms();
    let expire_ms = now.saturating_add(ACCESS_LIFE_MS);
    let name = format!("accounts/{}/sessions/{}", stored.id, session.id);
    let merchant = (session.scope == SessionScope::Seller).then(|| merchant_of(&stored.id));
    let person = stored.account.name.clone();
    // A creator's token goes to the showcase: it holds the public handle and nothing that leads to the person.
    let (sub, sid, aud, scope) = match session.scope {
        SessionScope::Creator if stored.account.creator_handle.is_empty() => return Err(Error::NoCreatorHandle),
        SessionScope::Creator => (
            stored.account.creator_handle.clone(),
            format!("sessions/{}", session.id),
            Audience::ShowcaseEdge,
            Scope::Creator,
        ),
        SessionScope::Seller => (person, name.clone(), Audience::CommerceEdge, Scope::Seller),
        SessionScope::Buyer => (person, name.clone(), Audience::CommerceEdge, Scope::Buyer),
        SessionScope::Unspecified => return Err(Error::SessionEnded),
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
        refresh_token: state.refresh_tokens.make(&session.id, session.generation),
        refresh_expire_time: Some(timestamp(session.expire_ms)),
        scope: session.scope.into(),
        account: stored.account.name.clone(),
        merchant: merchant.unwrap_or_default(),
    })
}

impl Row {
    const fn stands(&self, now: i64) -> bool {
        !self.is_revoked && self.expire_ms > now
    }
}

fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<Row>, Error> {
    let row = tx.optional(
        "SELECT id, account, scope, generation, refresh_hash, refresh_request_id, expire_ms, revoked
         FROM sessions WHERE id = $1",
        &[Value::from(id)],
    )?;
    row.map(|row| {
        let scope = i32::try_from(row.int(2)?).ok().and_then(|number| SessionScope::try_from(number).ok());
        Ok(Row {
            id: row.text(0)?.to_owned(),
            account: row.text(1)?.to_owned(),
            scope: scope.unwrap_or(SessionScope::Unspecified),
            generation: row.int(3)?,
            refresh_hash: row.bytes(4)?.to_vec(),
            refresh_request_id: row.text(5)?.to_owned(),
            expire_ms: row.int(6)?,
            is_revoked: row.bool(7)?,
        })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_works_once_and_its_request_again() {
        let digest = |number: i64| vec![u8::try_from(number).unwrap()];
        let session = Row {
            id: "s".to_owned(),
            account: "a".to_owned(),
            scope: SessionScope::Buyer,
            generation: 5,
            refresh_hash: digest(5),
            refresh_request_id: "r4".to_owned(),
            expire_ms: 1,
            is_revoked: false,
        };
        let ours = |number| Presented { session: "s".to_owned(), generation: Some(number), digest: digest(number) };
        let forged = |number| Presented { generation: None, ..ours(number) };
        let table = [
            (ours(5), "r5", Decision::Rotate),
            (ours(5), "r4", Decision::OtherRequest),
            (ours(4), "r4", Decision::Repeat),
            (ours(4), "r5", Decision::End),
            (ours(3), "r4", Decision::End),
            (ours(1), "r1", Decision::End),
            (ours(6), "r5", Decision::Refuse),
            (forged(4), "r4", Decision::Refuse),
            (forged(1), "r5", Decision::Refuse),
            // Made with a key that has since been replaced.
            (forged(5), "r5", Decision::Rotate),
        ];
        for (presented, request_id, decision) in table {
            assert_eq!(decide(&session, &presented, request_id), decision, "{presented:?} {request_id}");
        }
    }
}
