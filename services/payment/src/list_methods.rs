//! ListPaymentMethods: the ways to pay that this binary knows.

use sekat_api_payment::v1::{ListPaymentMethodsRequest, ListPaymentMethodsResponse, PaymentMethodOption};
use sekat_service::Page;
use sekat_store::{FilterDigest, PageTokens};

use crate::error::Error;

/// All of them, by id: a stable word, and a name for people.
const METHODS: &[(&str, &str)] = &[("virtual_account/bca", "BCA Virtual Account")];

/// The most of a page, and what it has if the caller does not say: more than there will ever be.
const MAX_METHODS: u32 = 50;

/// One page of [`METHODS`].
///
/// # Errors
/// For a token that was not made for this list, and for a negative size.
pub fn list_methods(
    tokens: &PageTokens,
    request: &ListPaymentMethodsRequest,
) -> Result<ListPaymentMethodsResponse, Error> {
    let filter = FilterDigest::new("ListPaymentMethods", &[]);
    let page = Page::new(tokens, filter, &request.page_token, request.page_size, (MAX_METHODS, MAX_METHODS))?;
    let after = page.after();
    let rows = METHODS.iter().filter(|(id, _)| *id > after.as_str()).map(|(id, display_name)| {
        ((*id).to_owned(), PaymentMethodOption { id: (*id).to_owned(), display_name: (*display_name).to_owned() })
    });
    let (methods, next_page_token) = page.cut(rows)?;
    Ok(ListPaymentMethodsResponse { methods, next_page_token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_are_sorted_by_id() {
        assert!(METHODS.is_sorted_by(|(one, _), (other, _)| one < other));
    }
}
