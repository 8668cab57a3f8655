//! Signing up.

use sekat_api_account::v1::{Account, CreateAccountRequest};
use sekat_mesh::Permit;
use sekat_store::{Tx, Value, now_ms};

use crate::error::Error;
use crate::read_account::{self, Stored};
use crate::rpc::State;
use crate::validate::{self, Violations};

/// Makes an account, or answers a repetition of the same request with the account that it made.
pub(crate) async fn create(state: &State, permit: &Permit, request: CreateAccountRequest) -> Result<Account, Error> {
    let CreateAccountRequest { account, password, request_id } = request;
    let mut account = account.unwrap_or_default();
    let mut violations = Violations::default();
    validate::account(&mut violations, &account);
    violations.check(validate::is_email(&account.email), "account.email", "must be an e-mail address");
    let length = password.chars().count();
    violations.check((10..=200).contains(&length), "password", "must have 10 to 200 characters");
    violations.check(!request_id.is_empty() && request_id.len() <= 64, "request_id", "must be a UUID");
    violations.finish()?;
    account.email = account.email.to_lowercase();
    if account.locale.is_empty() {
        account.locale = "id-ID".to_owned();
    }

    // The reply of a repetition is not stored under the request id alone: people who sign up share one caller, and
    // only who knows the password may learn what the first of them was told.
    let hash = state.hasher.hash(password.clone()).await?;
    let id = uuid::Uuid::now_v7().simple().to_string();
    let new = NewAccount { id, hash, request_id: request_id.clone(), account: account.clone() };
    let outcome = state.store.write(Some(permit.access()), move |tx| insert(tx, &new)).await;
    match outcome {
        Ok(stored) => Ok(stored.account),
        Err(Error::EmailTaken) => {
            let email = account.email.clone();
            let stored = state.store.read(move |tx| read_account::by_email(tx, &email)).await?;
            let Some(stored) = stored.filter(|stored| stored.request_id == request_id) else {
                return Err(Error::EmailTaken);
            };
            let is_same = state.hasher.verify(password, Some(stored.password_hash.clone())).await?;
            if is_same { Ok(stored.account) } else { Err(Error::EmailTaken) }
        }
        Err(error) => Err(error),
    }
}

struct NewAccount {
    id: String,
    hash: String,
    request_id: String,
    account: Account,
}

fn insert(tx: &mut dyn Tx, new: &NewAccount) -> Result<Stored, Error> {
    let Account { display_name, email, phone, locale, creator_handle, .. } = &new.account;
    if read_account::by_email(tx, email)?.is_some() {
        return Err(Error::EmailTaken);
    }
    if !creator_handle.is_empty() && read_account::handle_exists(tx, creator_handle)? {
        return Err(Error::HandleTaken);
    }
    let handle = if creator_handle.is_empty() { Value::Null } else { Value::from(creator_handle) };
    tx.exec(
        "INSERT INTO accounts
             (id, display_name, email, phone, locale, creator_handle, password_hash, create_ms, request_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            Value::from(&new.id),
            Value::from(display_name),
            Value::from(email),
            Value::from(phone),
            Value::from(locale),
            handle,
            Value::from(&new.hash),
            now_ms().into(),
            Value::from(&new.request_id),
        ],
    )?;
    read_account::by_id(tx, &new.id)?.ok_or(Error::NotFound("account"))
}
