//! Reading accounts, and saying whether one may order and where to.

use sekat_api_account::v1::{Account, AccountStanding, GetAccountRequest, GetAccountStandingRequest, Standing};
use sekat_mesh::Permit;
use sekat_service::timestamp;
use sekat_store::{Row, Tx, Value};

use crate::address;
use crate::error::Error;
use crate::rpc::{State, own_account};

/// An account with what only this service sees of it.
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) account: Account,
    pub(crate) password_hash: String,
    pub(crate) request_hash: Vec<u8>,
}

/// The caller's own account.
pub(crate) async fn get(state: &State, permit: &Permit, request: GetAccountRequest) -> Result<Account, Error> {
    let id = own_account(permit, &request.name)?;
    let stored = state.store.read(move |tx| by_id(tx, &id)).await?;
    stored.map(|stored| stored.account).ok_or(Error::NotFound("account"))
}

/// Whether an account may order, and where to. While the buyer waits, order brings their token along, and then the
/// account must be theirs.
pub(crate) async fn standing(
    state: &State,
    permit: &Permit,
    request: GetAccountStandingRequest,
) -> Result<AccountStanding, Error> {
    let GetAccountStandingRequest { name, address } = request;
    let id = match permit.end_user() {
        Some(_) => own_account(permit, &name)?,
        None => account_id(&name).ok_or(Error::NotFound("account"))?.to_owned(),
    };
    let read = move |tx: &mut dyn Tx| {
        let row = tx.optional("SELECT blocked FROM accounts WHERE id = $1", &[Value::from(&id)])?;
        // Nobody ships to an account that may not order, so nobody needs to know where it lives.
        if row.ok_or(Error::NotFound("account"))?.bool(0)? {
            return Ok((Standing::Blocked, None));
        }
        Ok::<_, Error>((Standing::Good, address::of_account(tx, &id, &address)?))
    };
    let (standing, address) = state.store.read(read).await?;
    Ok(AccountStanding { name, standing: standing.into(), address })
}

/// The id in `accounts/{account}`.
pub(crate) fn account_id(name: &str) -> Option<&str> {
    name.strip_prefix("accounts/").filter(|id| !id.is_empty() && !id.contains('/'))
}

pub(crate) fn by_id(tx: &mut dyn Tx, id: &str) -> Result<Option<Stored>, Error> {
    let row = tx.optional(
        "SELECT id, display_name, email, phone, locale, creator_handle, password_hash, version, create_ms, request_hash
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
    let version = row.int(7)?;
    let account = Account {
        name: format!("accounts/{id}"),
        display_name: row.text(1)?.to_owned(),
        email: row.text(2)?.to_owned(),
        phone: row.text(3)?.to_owned(),
        locale: row.text(4)?.to_owned(),
        creator_handle: row.text(5)?.to_owned(),
        etag: version.to_string(),
        create_time: Some(timestamp(row.int(8)?)),
    };
    Ok(Stored { id, account, password_hash: row.text(6)?.to_owned(), request_hash: row.bytes(9)?.to_vec() })
}
