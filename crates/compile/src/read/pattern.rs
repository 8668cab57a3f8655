//! How targets compare texts: with a `*` at one end, or with a regular expression.

use crate::read::cursor::{Cursor, Reading};

/// A text in which a `*` at the beginning or at the end stands for anything (Istio and gRFC A43 agree on it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Present,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        if text == "*" {
            Self::Present
        } else if let Some(prefix) = text.strip_suffix('*') {
            Self::Prefix(prefix.to_owned())
        } else if let Some(suffix) = text.strip_prefix('*') {
            Self::Suffix(suffix.to_owned())
        } else {
            Self::Exact(text.to_owned())
        }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Present => !text.is_empty(),
        }
    }
}

/// A regular expression of literals, `.`, and the quantifiers `*`, `+` and `?`; any more is not understood. Without
/// anchors it matches anywhere in the text: an enforcer may anchor it by itself, but nobody should rely on that.
#[derive(Clone, Debug)]
pub(crate) struct Regex {
    atoms: Vec<(Atom, Times)>,
    from_start: bool,
    to_end: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Atom {
    Literal(char),
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Once,
    Maybe,
    Any,
    AtLeastOnce,
}

impl Regex {
    pub(crate) fn read(at: Cursor<'_>) -> Reading<Self> {
        Self::new(at.text()?).ok_or_else(|| at.not_understood("a regular expression with more than . * + ? ^ $"))
    }

    fn new(text: &str) -> Option<Self> {
        let (text, from_start) = text.strip_prefix('^').map_or((text, false), |rest| (rest, true));
        let ends = text.ends_with('$') && !text.ends_with("\\$");
        let text = if ends { text.strip_suffix('$')? } else { text };
        let mut atoms: Vec<(Atom, Times)> = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let times = match c {
                '*' => Times::Any,
                '+' => Times::AtLeastOnce,
                '?' => Times::Maybe,
                _ => Times::Once,
            };
            if times != Times::Once {
                let last = atoms.last_mut().filter(|(_, times)| *times == Times::Once)?;
                last.1 = times;
                continue;
            }
            let atom = match c {
                '.' => Atom::Any,
                // Of escapes, only those that stand for a sign itself.
                '\\' => Atom::Literal(chars.next().filter(|c| !c.is_alphanumeric())?),
                '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => return None,
                c => Atom::Literal(c),
            };
            atoms.push((atom, Times::Once));
        }
        Some(Self { atoms, from_start, to_end: ends })
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let chars: Vec<char> = text.chars().collect();
        // Which positions of the text each prefix of the expression can reach.
        let mut reached: Vec<bool> = (0..=chars.len()).map(|at| at == 0 || !self.from_start).collect();
        for (atom, times) in &self.atoms {
            let fits =
                |at: usize| chars.get(at).is_some_and(|c| matches!(atom, Atom::Any) || *atom == Atom::Literal(*c));
            let optional = matches!(times, Times::Maybe | Times::Any);
            let repeats = matches!(times, Times::Any | Times::AtLeastOnce);
            let mut next = vec![false; reached.len()];
            let mut taken = false;
            for (at, slot) in next.iter_mut().enumerate() {
                let before = at.checked_sub(1);
                let started =
                    before.is_some_and(|before| reached.get(before).copied().unwrap_or(false) && fits(before));
                taken = started || (repeats && taken && before.is_some_and(fits));
                *slot = taken || (optional && reached.get(at).copied().unwrap_or(false));
            }
            reached = next;
        }
        if self.to_end { reached.last().copied().unwrap_or(false) } else { reached.contains(&true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_one_end_stands_for_anything() {
        let cases = [("abc", "abc", true), ("abc", "abcd", false), ("abc*", "abcd", true), ("*abc", "xabc", true)];
        for (pattern, text, expected) in cases.into_iter().chain([("*", "x", true), ("*", "", false), ("", "", true)]) {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_regular_expression_matches_what_it_says() {
        for (regex, text, expected) in [
            ("^/a\\.B/C$", "/a.B/C", true),
            ("^/a\\.B/C$", "/axB/C", false),
            ("^/a.B/C$", "/axB/C", true),
            ("/a\\.B/C", "x/a.B/CD", true),
            ("^/a\\.B/.*$", "/a.B/C", true),
            ("^/a\\.B/.*$", "/a.B/", true),
            ("^/a\\.B/.+$", "/a.B/", false),
            ("^ab?c$", "ac", true),
            ("^ab*c$", "abbbc", true),
            ("^ab+c$", "ac", false),
            ("^ab+c$", "abbc", true),
            ("^a$", "ab", false),
            ("", "anything", true),
        ] {
            assert_eq!(Regex::new(regex).expect(regex).matches(text), expected, "{regex} {text}");
        }
        for unknown in ["(a|b)", "[ab]", "a{2}", "\\d", "*a", "a**", "a\\"] {
            assert!(Regex::new(unknown).is_none(), "{unknown}");
        }
    }
}
