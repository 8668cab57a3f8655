//! Text that is safe to print.

/// The text with its control characters, and those that reverse the direction of writing, as escapes.
pub(crate) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_hidden(letter) { visible.extend(letter.escape_unicode()) } else { visible.push(letter) }
    }
    visible
}

/// Controls; and the marks with which a line can look other than it is (Unicode Technical Report 36, section 2.10).
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn nothing_reaches_a_terminal_unseen() {
        assert_eq!(visible("a\u{1b}[31mb\nc\u{202e}d"), "a\\u{1b}[31mb\\u{a}c\\u{202e}d");
        assert_eq!(visible("Warung Bu Sari → é"), "Warung Bu Sari → é");
    }
}
