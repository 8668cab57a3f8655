//! Labels and selectors, with three truths: a manifest may leave open which labels a pod or a namespace will have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Whether something holds. The order is that of `min` (and) and `max` (or).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Truth {
    /// It does not.
    No,
    /// It may.
    Maybe,
    /// It does.
    Yes,
}

impl Truth {
    /// Of something that is known.
    #[must_use]
    pub const fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    /// Of the contrary.
    #[must_use]
    pub const fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
            Self::Yes => Self::No,
        }
    }
}

/// Which labels there may be beside those that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Open {
    /// None: all are known.
    #[default]
    Nothing,
    /// Those with these keys.
    Keys(BTreeSet<String>),
    /// Any.
    Anything,
}

/// The labels of a pod or a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels {
    /// Those that are stated.
    pub known: BTreeMap<String, String>,
    /// Those that may come.
    pub open: Open,
}

impl Labels {
    /// Whether a label with that key may come.
    #[must_use]
    pub fn is_open(&self, key: &str) -> bool {
        match &self.open {
            Open::Nothing => false,
            Open::Keys(keys) => keys.contains(key) && !self.known.contains_key(key),
            Open::Anything => !self.known.contains_key(key),
        }
    }
}

/// A label selector. An empty one takes everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    /// What must hold, all of it.
    pub requirements: BTreeSet<Requirement>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What about it.
    pub operator: Operator,
}

/// What a requirement says about a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// It is there with one of these values.
    In(BTreeSet<String>),
    /// It is not there, or with another value.
    NotIn(BTreeSet<String>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl Selector {
    /// Takes what has a label.
    #[must_use]
    pub fn label(key: &str, value: &str) -> Self {
        let operator = Operator::In(BTreeSet::from([value.to_owned()]));
        Self { requirements: BTreeSet::from([Requirement { key: key.to_owned(), operator }]) }
    }

    /// Whether it takes everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether it takes what has these labels.
    #[must_use]
    pub fn takes(&self, labels: &Labels) -> Truth {
        self.requirements.iter().map(|requirement| requirement.holds(labels)).min().unwrap_or(Truth::Yes)
    }
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> Truth {
        let known = labels.known.get(&self.key);
        let is_open = labels.is_open(&self.key);
        let has = |wanted: &dyn Fn(&String) -> bool| match known {
            Some(value) => Truth::of(wanted(value)),
            None if is_open => Truth::Maybe,
            None => Truth::No,
        };
        match &self.operator {
            Operator::In(values) => has(&|value| values.contains(value)),
            Operator::NotIn(values) => has(&|value| values.contains(value)).not(),
            Operator::Exists => has(&|_| true),
            Operator::DoesNotExist => has(&|_| true).not(),
        }
    }
}

/// `{app=web,tier in (a,b),!legacy}`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, Requirement { key, operator }) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            let list = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            match operator {
                Operator::In(values) if values.len() == 1 => write!(f, "{key}={}", list(values))?,
                Operator::In(values) => write!(f, "{key} in ({})", list(values))?,
                Operator::NotIn(values) => write!(f, "{key} notin ({})", list(values))?,
                Operator::Exists => f.write_str(key)?,
                Operator::DoesNotExist => write!(f, "!{key}")?,
            }
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_has_three_truths() {
        let values = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let labels = |pairs: &[(&str, &str)], open| Labels {
            known: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            open,
        };
        let with_a = labels(&[("k", "a")], Open::Anything);
        let with_c = labels(&[("k", "c")], Open::Anything);
        let without = labels(&[], Open::Nothing);
        let open = labels(&[], Open::Anything);
        let open_key = labels(&[], Open::Keys(BTreeSet::from(["k".to_owned()])));
        let other_key = labels(&[], Open::Keys(BTreeSet::from(["j".to_owned()])));
        use Truth::{Maybe, No, Yes};
        for (operator, expected) in [
            (Operator::In(values.clone()), [Yes, No, No, Maybe, Maybe, No]),
            (Operator::NotIn(values), [No, Yes, Yes, Maybe, Maybe, Yes]),
            (Operator::Exists, [Yes, Yes, No, Maybe, Maybe, No]),
            (Operator::DoesNotExist, [No, No, Yes, Maybe, Maybe, Yes]),
        ] {
            let selector = Selector { requirements: BTreeSet::from([Requirement { key: "k".to_owned(), operator }]) };
            let found = [&with_a, &with_c, &without, &open, &open_key, &other_key].map(|labels| selector.takes(labels));
            assert_eq!(found, expected, "{selector}");
        }
        assert_eq!(Selector::default().takes(&open), Yes);
    }
}
