//! Reading accounts, and saying whether one may order.

use sekat_api_account::v1::{Account, AccountStanding, GetAccountRequest, GetAccountStandingRequest, Standing};
use sekat_mesh::Permit;
use sekat_service::timestamp;
use sekat_store::{Row, Tx, Value};

use crate::error::Error;
use crate::rpc::{State, own_account};

/// An account with what only this service sees of it.
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) account: Account,
    pub(crate) password_hash: String,
    pub(crate) request_hash: Vec<u8>,
    pub(crate) is_blocked: bool,
}

/// The caller's own account.
pub(crate) async fn get(state: &State, permit: &Permit, request: GetAccountRequest) -> Result<Account, Error> {
    let id = own_account(permit, &request.name)?;
    let stored = state.store.read(move |tx| by_id(tx, &id)).await?;
    stored.map(|stored| stored.account).ok_or(Error::NotFound("account"))
}

/// Whether an account may order.
pub(crate) async fn standing(state: &State, request: GetAccountStandingRequest) -> Result<AccountStanding, Error> {
    let name = request.name;
    let id = account_id(&name).ok_or(Error::NotFound("account"))?.to_owned();
    let stored = state.store.read(move |tx| by_id(tx, &id)).await?.ok_or(Error::NotFound("account"))?;
    let standing = if stored.is_blocked { Standing::Blocked } else { Standing::Good };
    Ok(AccountStanding { name, standing: standing.into() })
}

/// The id in `accounts/{account}`.
pub(crate) fn account_id(name: &str) -> Option<&str> {
    name.strip_prefix("accounts/").filter(|id| !id.is_empty() && !id.contains('/'))
}

pub(crate) fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<Stored>, Error> {
    let row = tx.optional(
        "SELECT id, display_name, email, phone, locale, creator_handle, password_hash, blocked, version, create_ms,
                request_hash
         FROM accounts WHERE id = $1",
        &[Value::from(id)],
    )?;
    row.map(|row| read(&row)).transpose()
}

pub(crate) fn by_email(tx: &mut dyn Tx, email: &str) -> Result<Option<Stored>, Error> {
    let row = tx.optional("SELECT id FROM accounts WHERE email = $1", &[Value::from(email)])?;
    row.map_or(Ok(None), |row| by_id(tx, row.text(0)?))
}

/// The account that a request made.
pub(crate) fn by_request(tx: &mut dyn Tx, request_id: &str) -> Result<Option<Stored>, Error> {
    let row = tx.optional("SELECT id FROM accounts WHERE request_id = $1", &[Value::from(request_id)])?;
    row.map_or(Ok(None), |row| by_id(tx, row.text(0)?))
}

fn read(row: &Row) -> Result<Stored, Error> {
    let id = row.text(0)?.to_owned();
    let version = row.int(8)?;
    let account = Account {
        name: format!("accounts/{id}"),
        display_name: row.text(1)?.to_owned(),
        email: row.text(2)?.to_owned(),
        phone: row.text(3)?.to_owned(),
        locale: row.text(4)?.to_owned(),
        creator_handle: row.text(5)?.to_owned(),
        etag: version.to_string(),
        create_time: Some(timestamp(row.int(9)?)),
    };
    Ok(Stored {
        id,
        account,
        password_hash: row.text(6)?.to_owned(),
        is_blocked: row.bool(7)?,
        request_hash: row.bytes(10)?.to_vec(),
    })
}
