//! The Rust names that prost gives to the parts of a contract. A wrong one does not compile.

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};

/// Words of Rust, of all editions, that a name may only be as `r#name`.
const KEYWORDS: &str = "\
    abstract as async await become box break const continue do dyn else enum false final fn for gen if impl in let \
    loop macro match mod move mut override priv pub ref return static struct trait true try type typeof unsafe \
    unsized use virtual where while yield";
/// Words that a name may not be at all; it ends with an underscore then.
const NEVER: &str = "crate extern self super";

/// The name of a field, method or module.
pub(super) fn snake(name: &str) -> String {
    let name = name.to_snake_case();
    let is_among = |words: &str| words.split(' ').any(|word| word == name);
    match (is_among(KEYWORDS), is_among(NEVER)) {
        (true, _) => format!("r#{name}"),
        (_, true) => name + "_",
        _ => name,
    }
}

/// The name of a type or variant.
pub(super) fn camel(name: &str) -> String {
    let name = name.to_upper_camel_case();
    if name == "Self" { name + "_" } else { name }
}

/// The module in which a package's code is included: its version.
pub(super) fn module(package: &str) -> String {
    snake(package.rsplit('.').next().unwrap_or(package))
}

/// The path of a type from the crate's root.
pub(super) fn path(package: &str, full_name: &str) -> String {
    let name = full_name.strip_prefix(package).unwrap_or(full_name).trim_start_matches('.');
    let (parents, name) = name.rsplit_once('.').map_or((None, name), |(parents, name)| (Some(parents), name));
    let parents: String = parents.iter().flat_map(|parents| parents.split('.')).map(|p| snake(p) + "::").collect();
    format!("crate::{}::{parents}{}", module(package), camel(name))
}

/// A constant's name.
pub(super) fn shouting(name: &str) -> String {
    name.to_snake_case().to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_prost() {
        assert_eq!(path("sekat.shop.v1", "sekat.shop.v1.Order"), "crate::v1::Order");
        assert_eq!(path("sekat.shop.v1", "sekat.shop.v1.OrderType.Line"), "crate::v1::order_type::Line");
        assert_eq!(path("google.type", "google.type.Money"), "crate::r#type::Money");
        assert_eq!(
            (snake("type"), snake("Self"), snake("requestId")),
            ("r#type".into(), "self_".into(), "request_id".into())
        );
        assert_eq!((camel("self"), camel("in_stock")), ("Self_".into(), "InStock".into()));
        assert_eq!(shouting("commerce-edge"), "COMMERCE_EDGE");
    }
}
