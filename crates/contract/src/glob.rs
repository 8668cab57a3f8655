//! Patterns over dotted names and gRPC paths: `*` is any text without the separator, `**` any text at all.

/// Whether all of `text` matches `pattern`. It takes time in proportion to the product of their lengths, whatever
/// the pattern.
pub(crate) fn matches(pattern: &str, text: &str, separator: char) -> bool {
    let text: Vec<char> = text.chars().collect();
    // reached[i]: the pattern so far matches the first i characters.
    let mut reached = vec![false; text.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    let mut pattern = pattern.chars().peekable();
    while let Some(letter) = pattern.next() {
        let anything = letter == '*' && pattern.next_if_eq(&'*').is_some();
        let mut before = false;
        for (index, cell) in reached.iter_mut().enumerate() {
            let arrived = *cell;
            let eaten = index.checked_sub(1).and_then(|index| text.get(index)).copied();
            *cell = match letter {
                '*' => arrived || (before && eaten.is_some_and(|eaten| anything || eaten != separator)),
                _ => before && eaten == Some(letter),
            };
            // A star continues from what it reached itself; a letter from where the pattern stood before it.
            before = if letter == '*' { *cell } else { arrived };
        }
    }
    reached.last().copied().unwrap_or(false)
}

/// Whether `pattern` can match more than one text.
pub(crate) fn is_pattern(pattern: &str) -> bool {
    pattern.contains('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_between_separators_and_two_do_not() {
        for (pattern, text, expected) in [
            ("shop.v1.Card.*", "shop.v1.Card.number", true),
            ("shop.v1.Card.*", "shop.v1.Card.inner.number", false),
            ("shop.v1.Card.**", "shop.v1.Card.inner.number", true),
            ("shop.*.Card", "shop.v1.Card", true),
            ("shop.*.Card", "shop.v1.beta.Card", false),
            ("**.Card", "shop.v1.beta.Card", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1b2", false),
            ("*card*", "card", true),
            ("abc", "abc", true),
            ("abc", "abd", false),
        ] {
            assert_eq!(matches(pattern, text, '.'), expected, "{pattern} {text}");
        }
        assert!(matches("shop.v1.CardService/*", "shop.v1.CardService/Get", '/'));
        assert!(!matches("shop.v1.CardService/Get*", "shop.v1.CardService/List", '/'));
    }

    #[test]
    fn a_pattern_that_tempts_to_try_everything_ends_soon() {
        let pattern = "*a".repeat(200);
        assert!(matches(&pattern, &"a".repeat(2_000), '/'));
        assert!(!matches(&pattern, &format!("{}b", "a".repeat(2_000)), '/'));
    }
}
