//! Signing up.

use prost::Message as _;
use sekat_api_account::v1::{Account, CreateAccountRequest};
use sekat_mesh::Permit;
use sekat_service::Violations;
use sekat_store::{StoreError, Tx, Value, now_ms};
use sha2::{Digest, Sha256};

use crate::creator_handle;
use crate::error::Error;
use crate::password::Turn;
use crate::read_account::{self, Stored};
use crate::rpc::State;
use crate::validate::{self, DEFAULT_LOCALE};

/// Makes an account, or answers a repetition of the same request with the account that it made.
///
/// The reply is not stored under the request id alone, as other writes store theirs: people who sign up share one
/// caller, and only who knows the password may learn what the first of them was told.
pub(crate) async fn create(state: &State, permit: &Permit, request: CreateAccountRequest) -> Result<Account, Error> {
    let (new, password) = Asked::checked(request)?;
    let (request_id, email) = (new.request_id.clone(), new.account.email.clone());
    // What is refused anyway costs no hash, and repetitions that wait for each other cost one.
    let turn = state.hasher.turn().await?;
    let earlier = state.store.read(move |tx| earlier(tx, &request_id, &email)).await?;
    if let Some(earlier) = earlier {
        return repeat(turn, &new, password, earlier).await;
    }
    let hash = turn.hash(password.clone()).await?;
    let id = uuid::Uuid::now_v7().simple().to_string();
    let for_store = new.clone();
    let made = state.store.write(Some(permit.access()), move |tx| insert(tx, &id, &hash, &for_store)).await?;
    match made {
        Made::Now(stored) => Ok(stored.account),
        Made::Before(earlier) => repeat(state.hasher.turn().await?, &new, password, earlier).await,
    }
}

/// Who wants to sign up, without the password.
#[derive(Clone)]
struct Asked {
    account: Account,
    request_id: String,
    request_hash: Vec<u8>,
}

enum Made {
    Now(Stored),
    /// By an earlier request of the same id.
    Before(Stored),
}

impl Asked {
    fn checked(mut request: CreateAccountRequest) -> Result<(Self, String), Error> {
        let password = std::mem::take(&mut request.password);
        let request_hash = Sha256::digest(request.encode_to_vec()).to_vec();
        let CreateAccountRequest { account, request_id, .. } = request;
        let mut account = account.unwrap_or_default();
        validate::request_id(&request_id)?;
        let mut violations = Violations::default();
        validate::account(&mut violations, &account);
        violations.check(validate::is_email(&account.email), "account.email", "must be an e-mail address");
        let length = password.chars().count();
        violations.check((10..=200).contains(&length), "password", "must have 10 to 200 characters");
        violations.finish()?;
        account.email = account.email.to_lowercase();
        if account.locale.is_empty() {
            DEFAULT_LOCALE.clone_into(&mut account.locale);
        }
        Ok((Self { account, request_id, request_hash }, password))
    }
}

async fn repeat(turn: Turn, asked: &Asked, password: String, earlier: Stored) -> Result<Account, Error> {
    if earlier.account.email != asked.account.email {
        return Err(StoreError::RequestIdReused.into());
    }
    if !turn.verify(password, Some(earlier.password_hash)).await? {
        return Err(Error::EmailTaken);
    }
    if earlier.request_hash == asked.request_hash {
        Ok(earlier.account)
    } else {
        Err(StoreError::RequestIdReused.into())
    }
}

/// The account that an earlier request of this id made.
fn earlier(tx: &mut dyn Tx, request_id: &str, email: &str) -> Result<Option<Stored>, Error> {
    if let Some(stored) = read_account::by_request(tx, request_id)? {
        return Ok(Some(stored));
    }
    if read_account::by_email(tx, email)?.is_some() { Err(Error::EmailTaken) } else { Ok(None) }
}

fn insert(tx: &mut dyn Tx, id: &str, hash: &str, new: &Asked) -> Result<Made, Error> {
    let Account { display_name, email, phone, locale, creator_handle, .. } = &new.account;
    if let Some(stored) = earlier(tx, &new.request_id, email)? {
        return Ok(Made::Before(stored));
    }
    tx.exec(
        "INSERT INTO accounts
             (id, display_name, email, phone, locale, creator_handle, password_hash, create_ms, request_id,
              request_hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            Value::from(id),
            Value::from(display_name),
            Value::from(email),
            Value::from(phone),
            Value::from(locale),
            Value::from(creator_handle),
            Value::from(hash),
            now_ms().into(),
            Value::from(&new.request_id),
            Value::from(new.request_hash.clone()),
        ],
    )?;
    if !creator_handle.is_empty() {
        creator_handle::claim(tx, creator_handle, id)?;
    }
    read_account::by_id(tx, id)?.map(Made::Now).ok_or(Error::NotFound("account"))
}
