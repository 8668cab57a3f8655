//! What somebody may have meant by a name that does not exist.

/// Names farther away than a third of their length are no typing errors.
const FAR: usize = 3;

/// `, did you mean …?` if one of `known` is close to `name`, else nothing.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!(", did you mean `{near}`?"))
}

/// The closest of `known`, the first in order among equals.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    let limit = (length / FAR).max(1);
    // As many letters have to be added or removed as one is longer than the other.
    let similar = known.into_iter().filter(|other| length.abs_diff(other.chars().count()) <= limit);
    let close = similar.map(|other| (distance(name, other), other));
    close.filter(|(distance, _)| *distance <= limit).min().map(|(_, other)| other)
}

/// How many letters have to be changed, added, removed or swapped with their neighbour (restricted Damerau distance);
/// case does not count, because it is what people get wrong first.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.to_lowercase().chars().collect();
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, from) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, to) in right.iter().enumerate() {
            let at = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX - 1);
            let changed = at(&last, column) + usize::from(from != to);
            let mut best = changed.min(at(&last, column + 1) + 1).min(at(&current, column) + 1);
            let swapped = row > 0 && column > 0 && left.get(row - 1) == Some(to) && right.get(column - 1) == Some(from);
            if swapped {
                best = best.min(at(&before_last, column - 1) + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_near_and_another_word_is_not() {
        let known = ["trustDomain", "may", "namespace"];
        for (written, meant) in [
            ("trustdomain", Some("trustDomain")),
            ("trust-domain", Some("trustDomain")),
            ("namepsace", Some("namespace")),
            ("mai", Some("may")),
            ("selector", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known), meant, "{written}");
        }
        assert_eq!(did_you_mean("mya", known), ", did you mean `may`?");
        assert_eq!(did_you_mean("selector", known), "");
    }

    #[test]
    fn distances_are_those_of_the_definition() {
        for (left, right, expected) in
            [("", "", 0), ("a", "", 1), ("", "abc", 3), ("ab", "ba", 1), ("kitten", "sitting", 3), ("A", "a", 0)]
        {
            assert_eq!((distance(left, right), distance(right, left)), (expected, expected), "{left} {right}");
        }
    }
}
