//! Registering a business.

use prost::Message as _;
use sekat_api_merchant::v1::{CreateMerchantRequest, Merchant, MerchantState};
use sekat_mesh::Permit;
use sekat_service::{Violations, is_text};
use sekat_store::{RequestKey, Store, Tx, Value, now_ms};

use crate::announce;
use crate::error::Error;
use crate::read_merchant::{self, Owned};

/// Registers the caller's business under the name that the session gives it, and tells catalog.
pub(crate) async fn create(store: &Store, permit: &Permit, request: CreateMerchantRequest) -> Result<Merchant, Error> {
    let (owner, name) = permit.seller().map_err(|_| Error::NotSeller)?;
    let id = name.strip_prefix("merchants/").ok_or(Error::NotSeller)?.to_owned();
    let owner = owner.to_owned();
    let body = request.encode_to_vec();
    let wanted = checked(request.merchant.unwrap_or_default())?;
    let trace = permit.trace().to_bytes();
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    store.write_once(key, move |tx| insert(tx, &id, &owner, &wanted, trace)).await
}

fn checked(mut merchant: Merchant) -> Result<Merchant, Error> {
    let is_number = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    // Numbers from before 2024 have 15 digits; a leading zero makes them the same number (PMK 112/2022).
    if is_number(&merchant.npwp, 15) {
        merchant.npwp.insert(0, '0');
    }
    let mut violations = Violations::default();
    violations.check(is_text(&merchant.display_name, 3..=60), "merchant.display_name", "must have 3 to 60 characters");
    violations.check(is_text(&merchant.city, 2..=60), "merchant.city", "must have 2 to 60 characters");
    violations.check(is_text(&merchant.legal_name, 3..=120), "merchant.legal_name", "must have 3 to 120 characters");
    violations.check(is_number(&merchant.nib, 13), "merchant.nib", "must have 13 digits");
    violations.check(is_number(&merchant.npwp, 16), "merchant.npwp", "must have 16 digits, or 15");
    violations.finish()?;
    Ok(merchant)
}

fn insert(tx: &mut dyn Tx, id: &str, owner: &str, wanted: &Merchant, trace: [u8; 25]) -> Result<Merchant, Error> {
    if read_merchant::by_id(tx, id)?.is_some() {
        return Err(Error::AlreadyRegistered);
    }
    if tx.optional("SELECT id FROM merchants WHERE nib = $1", &[Value::from(&wanted.nib)])?.is_some() {
        return Err(Error::NibTaken);
    }
    tx.exec(
        "INSERT INTO merchants (id, owner, display_name, city, legal_name, nib, npwp, state, create_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            Value::from(id),
            Value::from(owner),
            Value::from(&wanted.display_name),
            Value::from(&wanted.city),
            Value::from(&wanted.legal_name),
            Value::from(&wanted.nib),
            Value::from(&wanted.npwp),
            i64::from(i32::from(MerchantState::Active)).into(),
            now_ms().into(),
        ],
    )?;
    announce::enqueue(tx, id, trace)?;
    let Owned { merchant, .. } = read_merchant::by_id(tx, id)?.ok_or(Error::NotFound)?;
    Ok(merchant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merchant(nib: &str, npwp: &str) -> Merchant {
        Merchant {
            display_name: "Batik Sari".to_owned(),
            city: "Solo".to_owned(),
            legal_name: "CV Batik Sari".to_owned(),
            nib: nib.to_owned(),
            npwp: npwp.to_owned(),
            ..Merchant::default()
        }
    }

    #[test]
    fn numbers_have_their_lengths_and_an_old_npwp_gets_its_zero() {
        assert_eq!(checked(merchant("1234567890123", "123456789012345")).unwrap().npwp, "0123456789012345");
        assert_eq!(checked(merchant("1234567890123", "1234567890123456")).unwrap().npwp, "1234567890123456");
        for (nib, npwp) in [("123", "1234567890123456"), ("1234567890123", "12"), ("123456789012x", "1234567890123456")]
        {
            assert!(matches!(checked(merchant(nib, npwp)), Err(Error::Invalid(_))), "{nib} {npwp}");
        }
    }
}
