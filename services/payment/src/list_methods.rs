//! ListPaymentMethods: the ways to pay that this binary knows.

/// A way to pay, as buyers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// A stable word.
    pub id: &'static str,
    /// For people.
    pub display_name: &'static str,
}

/// All of them, by id.
pub const METHODS: &[Method] = &[Method { id: "virtual_account/bca", display_name: "BCA Virtual Account" }];

/// Up to `limit` of `methods` whose ids come after `after`, and whether there are more.
#[must_use]
pub fn page<'a>(methods: &'a [Method], after: &str, limit: usize) -> (&'a [Method], bool) {
    let rest = methods.partition_point(|method| method.id <= after);
    let rest = methods.get(rest..).unwrap_or_default();
    (rest.get(..limit).unwrap_or(rest), rest.len() > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap() {
        let methods = ["a", "b", "c"].map(|id| Method { id, display_name: id });
        let ids = |(page, more): (&[Method], bool)| (page.iter().map(|method| method.id).collect::<String>(), more);
        assert_eq!(ids(page(&methods, "", 2)), ("ab".to_owned(), true));
        assert_eq!(ids(page(&methods, "b", 2)), ("c".to_owned(), false));
        assert_eq!(ids(page(&methods, "", 3)), ("abc".to_owned(), false));
        assert_eq!(ids(page(&methods, "c", 2)), (String::new(), false));
    }

    #[test]
    fn the_methods_are_sorted_by_id() {
        assert!(METHODS.is_sorted_by(|one, other| one.id < other.id));
    }
}
