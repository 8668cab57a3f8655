//! What fields may hold. Violations name the field and the rule, never the value.

use sekat_api_account::v1::{Account, Address};

use crate::error::Error;

/// Collects violations, so that a client learns of all of them at once.
#[derive(Default)]
pub(crate) struct Violations(Vec<(&'static str, &'static str)>);

impl Violations {
    pub(crate) fn check(&mut self, holds: bool, field: &'static str, rule: &'static str) {
        if !holds {
            self.0.push((field, rule));
        }
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}

/// An account as a client may send it. `account.email` is only looked at on sign-up.
pub(crate) fn account(violations: &mut Violations, account: &Account) {
    let Account { display_name, phone, locale, creator_handle, .. } = account;
    violations.check(is_text(display_name, 1, 100), "account.display_name", "must have 1 to 100 characters");
    violations.check(phone.is_empty() || is_phone(phone), "account.phone", PHONE_RULE);
    violations.check(locale.len() <= 35 && locale.is_ascii(), "account.locale", "must be a BCP 47 language tag");
    violations.check(
        creator_handle.is_empty() || is_handle(creator_handle),
        "account.creator_handle",
        "must be 3 to 30 of a-z, 0-9, '.' and '_'",
    );
}

/// An address as a client may send it.
pub(crate) fn address(violations: &mut Violations, address: &Address) {
    let texts = [
        (&address.receiver_name, "address.receiver_name", 100),
        (&address.city, "address.city", 100),
        (&address.province, "address.province", 100),
        (&address.street, "address.street", 300),
    ];
    for (text, field, longest) in texts {
        violations.check(is_text(text, 1, longest), field, "must not be empty or longer than the contract says");
    }
    violations.check(is_text(&address.district, 0, 100), "address.district", "must have at most 100 characters");
    violations.check(is_phone(&address.phone), "address.phone", PHONE_RULE);
    let is_code = address.postal_code.len() == 5 && address.postal_code.bytes().all(|byte| byte.is_ascii_digit());
    violations.check(is_code, "address.postal_code", "must have five digits");
}

const PHONE_RULE: &str = "must be in E.164 form, for instance +628…";

/// Characters, and no control ones.
fn is_text(text: &str, shortest: usize, longest: usize) -> bool {
    (shortest..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// ITU-T E.164: a plus sign and 7 to 15 digits.
fn is_phone(text: &str) -> bool {
    text.strip_prefix('+')
        .is_some_and(|digits| (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// An address as RFC 5321 limits it; whether it exists only a message to it can tell.
pub(crate) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_visible = text.chars().all(|character| !character.is_whitespace() && !character.is_control());
    text.len() <= 254 && (1..=64).contains(&local.len()) && domain.contains('.') && !domain.ends_with('.') && is_visible
}

fn is_handle(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_');
    (3..=30).contains(&text.len()) && text.bytes().all(is_allowed) && text != ".." && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_takes_the_good_and_refuses_the_bad() {
        let table: [(fn(&str) -> bool, &[&str], &[&str]); 3] = [
            (is_email, &["sari@contoh.id", "a.b+c@d.co"], &["", "sari", "@contoh.id", "sari@", "sari@localhost", "a b@c.id"]),
            (is_phone, &["+6281234567890", "+1234567"], &["", "0812", "+62-812", "+123456", "+1234567890123456"]),
            (is_handle, &["batik.sari", "kopi_99"], &["", "ab", "Sari", ".sari", "a b c", "sari/../x"]),
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
}
