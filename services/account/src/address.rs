//! Addresses of one's own account.

use prost::Message as _;
use sekat_api_account::v1::{
    Address, CreateAddressRequest, GetAddressRequest, ListAddressesRequest, ListAddressesResponse,
};
use sekat_mesh::Permit;
use sekat_service::{Page, Violations};
use sekat_store::{FilterDigest, RequestKey, Row, Tx, Value};

use crate::error::Error;
use crate::rpc::{State, own_account};
use crate::validate;

/// Enough for anybody's family, and a bound on what one account can store.
const MAX_ADDRESSES: i64 = 20;

/// Adds an address.
pub(crate) async fn create(state: &State, permit: &Permit, request: CreateAddressRequest) -> Result<Address, Error> {
    let body = request.encode_to_vec();
    let account = own_account(permit, &request.parent)?;
    let address = request.address.unwrap_or_default();
    let mut violations = Violations::default();
    validate::address(&mut violations, &address);
    violations.finish()?;
    let id = uuid::Uuid::now_v7().simple().to_string();
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    state.store.write_once(key, move |tx| insert(tx, &id, &account, &address)).await
}

fn insert(tx: &mut dyn Tx, id: &str, account: &str, address: &Address) -> Result<Address, Error> {
    let count = tx.one("SELECT COUNT(*) FROM addresses WHERE account = $1", &[Value::from(account)])?.int(0)?;
    if count >= MAX_ADDRESSES {
        return Err(Error::TooManyAddresses(MAX_ADDRESSES));
    }
    let Address { receiver_name, phone, street, district, city, province, postal_code, .. } = address;
    let texts = [id, account, receiver_name, phone, street, district, city, province, postal_code];
    tx.exec(
        "INSERT INTO addresses
             (id, account, receiver_name, phone, street, district, city, province, postal_code)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &texts.map(Value::from),
    )?;
    Ok(Address { name: format!("accounts/{account}/addresses/{id}"), ..address.clone() })
}

/// Returns one's own address.
pub(crate) async fn get(state: &State, permit: &Permit, request: GetAddressRequest) -> Result<Address, Error> {
    let (account, _) = parts(&request.name).ok_or(Error::NotFound("address"))?;
    let account = own_account(permit, &format!("accounts/{account}"))?;
    let found = state.store.read(move |tx| of_account(tx, &account, &request.name)).await?;
    found.ok_or(Error::NotFound("address"))
}

/// The address of this name, if it is the account's.
pub(crate) fn of_account(tx: &mut dyn Tx, account: &str, name: &str) -> Result<Option<Address>, Error> {
    let Some((_, id)) = parts(name).filter(|(owner, _)| *owner == account) else { return Ok(None) };
    let row = tx.optional(
        "SELECT id, account, receiver_name, phone, street, district, city, province, postal_code
         FROM addresses WHERE id = $1 AND account = $2",
        &[Value::from(id), Value::from(account)],
    )?;
    row.map(|row| Ok(read(&row)?.1)).transpose()
}

/// Lists one's own addresses.
pub(crate) async fn list(
    state: &State,
    permit: &Permit,
    request: ListAddressesRequest,
) -> Result<ListAddressesResponse, Error> {
    let account = own_account(permit, &request.parent)?;
    let filter = FilterDigest::new("ListAddresses", &[account.as_bytes()]);
    let page = Page::new(state.store.pages(), filter, &request.page_token, request.page_size, (20, 20))?;
    let (after, limit) = (page.after(), page.limit());
    let rows = state
        .store
        .read::<_, Error>(move |tx| {
            let rows = tx.rows(
                "SELECT id, account, receiver_name, phone, street, district, city, province, postal_code
                 FROM addresses WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
                &[Value::from(&account), Value::from(&after), limit.into()],
            )?;
            rows.iter().map(read).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let (addresses, next_page_token) = page.cut(rows)?;
    Ok(ListAddressesResponse { addresses, next_page_token })
}

fn parts(name: &str) -> Option<(&str, &str)> {
    let (account, id) = name.strip_prefix("accounts/")?.split_once("/addresses/")?;
    let is_id = |text: &str| !text.is_empty() && !text.contains('/');
    (is_id(account) && is_id(id)).then_some((account, id))
}

/// An address after its id.
fn read(row: &Row) -> Result<(String, Address), Error> {
    let id = row.text(0)?.to_owned();
    let address = Address {
        name: format!("accounts/{}/addresses/{}", row.text(1)?, id),
        receiver_name: row.text(2)?.to_owned(),
        phone: row.text(3)?.to_owned(),
        street: row.text(4)?.to_owned(),
        district: row.text(5)?.to_owned(),
        city: row.text(6)?.to_owned(),
        province: row.text(7)?.to_owned(),
        postal_code: row.text(8)?.to_owned(),
    };
    Ok((id, address))
}
