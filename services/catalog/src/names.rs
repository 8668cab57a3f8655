//! Resource names of this service, parsed once and strictly.

use crate::error::Error;

/// A sku, `products/{product}/skus/{code}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SkuName {
    pub(crate) product: String,
    pub(crate) code: String,
}

impl SkuName {
    pub(crate) fn parse(name: &str) -> Result<Self, Error> {
        let parts = name.strip_prefix("products/").and_then(|rest| rest.split_once("/skus/"));
        match parts {
            Some((product, code)) if is_id(product) && is_id(code) => {
                Ok(Self { product: product.to_owned(), code: code.to_owned() })
            }
            _ => Err(Error::NotFound("sku")),
        }
    }
}

impl std::fmt::Display for SkuName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "products/{}/skus/{}", self.product, self.code)
    }
}

/// The id in `{collection}/{id}`.
pub(crate) fn id<'a>(name: &'a str, collection: &'static str, what: &'static str) -> Result<&'a str, Error> {
    name.strip_prefix(collection)
        .and_then(|rest| rest.strip_prefix('/'))
        .filter(|id| is_id(id))
        .ok_or(Error::NotFound(what))
}

/// The shop and the id in `merchants/{merchant}/{collection}/{id}`.
pub(crate) fn in_shop<'a>(
    name: &'a str,
    collection: &'static str,
    what: &'static str,
) -> Result<(&'a str, &'a str), Error> {
    let mut parts = name.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("merchants"), Some(shop), Some(middle), Some(id), None)
            if middle == collection && is_id(shop) && is_id(id) =>
        {
            Ok((shop, id))
        }
        _ => Err(Error::NotFound(what)),
    }
}

/// 1 to 63 of the characters that ids are made of.
pub(crate) fn is_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&text.len()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_exactly_its_pattern() {
        assert_eq!(SkuName::parse("products/p/skus/A-1").unwrap().to_string(), "products/p/skus/A-1");
        for bad in
            ["", "products/p", "products//skus/a", "products/p/skus/", "products/p/skus/a/b", "products/../skus/a"]
        {
            assert!(SkuName::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(id("merchants/m-1", "merchants", "merchant").unwrap(), "m-1");
        assert!(id("merchants/m/1", "merchants", "merchant").is_err());
        assert_eq!(in_shop("merchants/m/listings/l", "listings", "listing").unwrap(), ("m", "l"));
        assert!(in_shop("merchants/m/imports/l", "listings", "listing").is_err());
        assert!(in_shop("merchants/m/listings/l/x", "listings", "listing").is_err());
    }
}
