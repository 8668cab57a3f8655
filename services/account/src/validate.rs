//! What fields may hold.

use sekat_api_account::v1::{Account, Address};
use sekat_service::{Violations, is_text};
use sekat_store::StoreError;

/// The locale of an account that names none.
pub(crate) const DEFAULT_LOCALE: &str = "id-ID";

/// An account as a client may send it. `account.email` is only looked at on sign-up.
pub(crate) fn account(violations: &mut Violations, account: &Account) {
    let Account { display_name, phone, locale, creator_handle, .. } = account;
    violations.check(is_text(display_name, 1..=100), "account.display_name", "must have 1 to 100 characters");
    violations.check(phone.is_empty() || is_phone(phone), "account.phone", PHONE_RULE);
    violations.check(locale.is_empty() || is_language_tag(locale), "account.locale", "must be a BCP 47 language tag");
    violations.check(
        creator_handle.is_empty() || is_handle(creator_handle),
        "account.creator_handle",
        "must be 3 to 30 of a-z, 0-9, '.' and '_' and not begin with '.'",
    );
}

/// An address as a client may send it.
pub(crate) fn address(violations: &mut Violations, address: &Address) {
    let texts = [
        (&address.receiver_name, "address.receiver_name", 1..=100, "must have 1 to 100 characters"),
        (&address.street, "address.street", 1..=300, "must have 1 to 300 characters"),
        (&address.district, "address.district", 0..=100, "must have at most 100 characters"),
        (&address.city, "address.city", 1..=100, "must have 1 to 100 characters"),
        (&address.province, "address.province", 1..=100, "must have 1 to 100 characters"),
    ];
    for (text, field, characters, rule) in texts {
        violations.check(is_text(text, characters), field, rule);
    }
    violations.check(is_phone(&address.phone), "address.phone", PHONE_RULE);
    let is_code = address.postal_code.len() == 5 && address.postal_code.bytes().all(|byte| byte.is_ascii_digit());
    violations.check(is_code, "address.postal_code", "must have five digits");
}

/// The id of a request whose reply this service keeps by itself; the store's own rule.
pub(crate) fn request_id(text: &str) -> Result<(), StoreError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_id = (1..=64).contains(&text.len()) && text.bytes().all(is_allowed);
    if is_id { Ok(()) } else { Err(StoreError::InvalidRequestId) }
}

const PHONE_RULE: &str = "must be in E.164 form, for instance +628…";

/// ITU-T E.164: a plus sign and 7 to 15 digits.
fn is_phone(text: &str) -> bool {
    text.strip_prefix('+')
        .is_some_and(|digits| (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The shape of RFC 5646, section 2.1: subtags of 1 to 8 letters and digits, joined by hyphens.
fn is_language_tag(text: &str) -> bool {
    let is_subtag = |tag: &str| (1..=8).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 35 && text.split('-').all(is_subtag)
}

/// An address as RFC 5321 limits it; whether it exists only a message to it can tell.
pub(crate) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_visible = text.chars().all(|character| !character.is_whitespace() && !character.is_control());
    text.len() <= 254 && (1..=64).contains(&local.len()) && domain.contains('.') && !domain.ends_with('.') && is_visible
}

fn is_handle(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_');
    (3..=30).contains(&text.len()) && text.bytes().all(is_allowed) && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule, what it takes, and what it refuses.
    type Row = (fn(&str) -> bool, &'static [&'static str], &'static [&'static str]);

    #[test]
    fn each_rule_takes_the_good_and_refuses_the_bad() {
        let table: [Row; 5] = [
            (
                is_email,
                &["sari@contoh.id", "a.b+c@d.co"],
                &["", "sari", "@contoh.id", "sari@", "sari@localhost", "a b@c.id"],
            ),
            (is_phone, &["+6281234567890", "+1234567"], &["", "0812", "+62-812", "+123456", "+1234567890123456"]),
            (is_handle, &["batik.sari", "kopi_99"], &["", "ab", "Sari", ".sari", "a b c", "sari/../x"]),
            (is_language_tag, &["id-ID", "su", "zh-Hant-TW"], &["", "id_ID", "-", "indonesian1", "id-"]),
            (|text| request_id(text).is_ok(), &["a", "0b8a-4_Z"], &["", "a b", "a/b", ONE_TOO_LONG]),
        ];
        for (rule, good, bad) in table {
            for text in good {
                assert!(rule(text), "{text}");
            }
            for text in bad {
                assert!(!rule(text), "{text}");
            }
        }
    }

    const ONE_TOO_LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
}
