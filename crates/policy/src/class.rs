//! What a field holds, and sets of that.

use std::fmt;

/// What a protobuf field holds. Every leaf field of every contract has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataClass {
    /// Anyone may see it.
    Public,
    /// Personal data of a buyer or a seller.
    User,
    /// Money movements, instruments, balances, provider references.
    Payment,
    /// A seller's business data.
    Merchant,
    /// Technical, meaningless outside: request ids, page tokens, etags.
    Internal,
}

impl DataClass {
    /// All classes, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::Public, Self::User, Self::Payment, Self::Merchant, Self::Internal];

    /// The name that contracts, spans and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "PUBLIC",
            Self::User => "USER",
            Self::Payment => "PAYMENT",
            Self::Merchant => "MERCHANT",
            Self::Internal => "INTERNAL",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for DataClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of data classes, one bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ClassSet(u8);

impl ClassSet {
    /// No class.
    pub const EMPTY: Self = Self(0);
    /// The classes whose every access is recorded before a response leaves.
    pub const RECORDED: Self = Self::EMPTY.with(DataClass::User).with(DataClass::Payment);

    /// This set and `class`.
    #[must_use]
    pub const fn with(self, class: DataClass) -> Self {
        Self(self.0 | class.bit())
    }

    /// Everything in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Everything in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether `class` is in the set.
    #[must_use]
    pub const fn contains(self, class: DataClass) -> bool {
        self.0 & class.bit() != 0
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the two sets share a class.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The classes of the set, in the order of [`DataClass::ALL`].
    pub fn iter(self) -> impl Iterator<Item = DataClass> {
        DataClass::ALL.into_iter().filter(move |class| self.contains(*class))
    }
}

impl FromIterator<DataClass> for ClassSet {
    fn from_iter<I: IntoIterator<Item = DataClass>>(classes: I) -> Self {
        classes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// `USER|PAYMENT`; the empty set is `-`.
impl fmt::Display for ClassSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (index, class) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("|")?;
            }
            f.write_str(class.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClassSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClassSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_print_their_classes_in_declaration_order() {
        let set: ClassSet = [DataClass::Payment, DataClass::User].into_iter().collect();
        assert_eq!(set.to_string(), "USER|PAYMENT");
        assert_eq!(ClassSet::EMPTY.to_string(), "-");
    }

    #[test]
    fn set_operations_agree_with_membership() {
        let left = ClassSet::EMPTY.with(DataClass::Public).with(DataClass::User);
        let right = ClassSet::EMPTY.with(DataClass::User).with(DataClass::Merchant);
        for class in DataClass::ALL {
            let (l, r) = (left.contains(class), right.contains(class));
            assert_eq!(left.union(right).contains(class), l || r);
            assert_eq!(left.intersection(right).contains(class), l && r);
            assert_eq!(left.difference(right).contains(class), l && !r);
        }
        assert!(left.intersects(right));
        assert!(!ClassSet::EMPTY.intersects(right));
    }
}
