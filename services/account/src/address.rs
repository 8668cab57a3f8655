//! Addresses of one's own account.

use sekat_api_account::v1::{
    Address, CreateAddressRequest, GetAddressRequest, ListAddressesRequest, ListAddressesResponse,
};
use sekat_mesh::Permit;
use sekat_store::{FilterDigest, RequestKey, Row, Tx, Value, page_size};
use tonic::codegen::Bytes;

use crate::error::Error;
use crate::rpc::{State, own_account};
use crate::validate::{self, Violations};

/// Enough for anybody's family, and a bound on what one account can store.
const MAX_ADDRESSES: i64 = 20;

/// Adds an address.
pub(crate) async fn create(
    state: &State,
    permit: &Permit,
    request: CreateAddressRequest,
    body: &Bytes,
) -> Result<Address, Error> {
    let account = own_account(permit, &request.parent)?;
    let address = request.address.unwrap_or_default();
    let mut violations = Violations::default();
    validate::address(&mut violations, &address);
    violations.finish()?;
    let id = uuid::Uuid::now_v7().simple().to_string();
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body };
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

/// Returns an address: a buyer's own, or the one that order names for the buyer whose checkout it runs.
pub(crate) async fn get(state: &State, permit: &Permit, request: GetAddressRequest) -> Result<Address, Error> {
    let (account, id) = parts(&request.name).ok_or(Error::NotFound("address"))?;
    if permit.caller().path() != "/order" {
        own_account(permit, &format!("accounts/{account}"))?;
    }
    let (account, id) = (account.to_owned(), id.to_owned());
    let found = state
        .store
        .read::<_, Error>(move |tx| {
            let row = tx.optional(
                "SELECT id, account, receiver_name, phone, street, district, city, province, postal_code
                 FROM addresses WHERE id = $1 AND account = $2",
                &[Value::from(&id), Value::from(&account)],
            )?;
            row.map(|row| read(&row)).transpose()
        })
        .await?;
    found.ok_or(Error::NotFound("address"))
}

/// Lists one's own addresses.
pub(crate) async fn list(
    state: &State,
    permit: &Permit,
    request: ListAddressesRequest,
) -> Result<ListAddressesResponse, Error> {
    let account = own_account(permit, &request.parent)?;
    let filter = FilterDigest::new("ListAddresses", &[account.as_bytes()]);
    let pages = state.store.pages();
    let after = match request.page_token.as_str() {
        "" => String::new(),
        token => pages.decode(filter, token)?,
    };
    let size = page_size(request.page_size, 20, 20)?;
    let mut addresses = state
        .store
        .read::<_, Error>(move |tx| {
            let rows = tx.rows(
                "SELECT id, account, receiver_name, phone, street, district, city, province, postal_code
                 FROM addresses WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
                &[Value::from(&account), Value::from(&after), size.saturating_add(1).into()],
            )?;
            rows.iter().map(read).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let limit = usize::try_from(size).unwrap_or(usize::MAX);
    let has_more = addresses.len() > limit;
    addresses.truncate(limit);
    let last = addresses.last().and_then(|address| parts(&address.name)).map(|(_, id)| id);
    let next_page_token = match last.filter(|_| has_more) {
        Some(last) => pages.encode(filter, last)?,
        None => String::new(),
    };
    Ok(ListAddressesResponse { addresses, next_page_token })
}

fn parts(name: &str) -> Option<(&str, &str)> {
    let (account, id) = name.strip_prefix("accounts/")?.split_once("/addresses/")?;
    let is_id = |text: &str| !text.is_empty() && !text.contains('/');
    (is_id(account) && is_id(id)).then_some((account, id))
}

fn read(row: &Row) -> Result<Address, Error> {
    Ok(Address {
        name: format!("accounts/{}/addresses/{}", row.text(1)?, row.text(0)?),
        receiver_name: row.text(2)?.to_owned(),
        phone: row.text(3)?.to_owned(),
        street: row.text(4)?.to_owned(),
        district: row.text(5)?.to_owned(),
        city: row.text(6)?.to_owned(),
        province: row.text(7)?.to_owned(),
        postal_code: row.text(8)?.to_owned(),
    })
}
