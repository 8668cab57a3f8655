//! Fields at fault: collected, so that a client learns of all of them at once, and named without their values.

use std::fmt;
use std::ops::RangeInclusive;

use sekat_mesh::refusal::invalid;
use tonic::Status;

/// Collects what is wrong with the fields of a request.
#[derive(Debug, Default)]
pub struct Violations(Vec<(String, &'static str)>);

impl Violations {
    /// Notes that `field` must obey `rule` if `holds` is false. The rule never repeats a value.
    pub fn check(&mut self, holds: bool, field: impl Into<String>, rule: &'static str) {
        if !holds {
            self.0.push((field.into(), rule));
        }
    }

    /// `value`, or a note that `field` must obey `rule`.
    pub fn take<T>(&mut self, field: impl Into<String>, rule: &'static str, value: Option<T>) -> Option<T> {
        self.check(value.is_some(), field, rule);
        value
    }

    /// All that was noted.
    #[must_use]
    pub fn into_invalid(self) -> Invalid {
        Invalid(self.0)
    }

    /// # Errors
    /// All that was noted, if anything was.
    pub fn finish(self) -> Result<(), Invalid> {
        if self.0.is_empty() { Ok(()) } else { Err(Invalid(self.0)) }
    }
}

/// The fields at fault and their rules: `INVALID_ARGUMENT` with one violation each.
#[derive(Debug, thiserror::Error)]
pub struct Invalid(Vec<(String, &'static str)>);

impl Invalid {
    /// One field at fault.
    pub fn field(field: impl Into<String>, rule: &'static str) -> Self {
        Self(vec![(field.into(), rule)])
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (field, rule)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{field}: {rule}")?;
        }
        Ok(())
    }
}

impl From<Invalid> for Status {
    fn from(fields: Invalid) -> Self {
        invalid("INVALID_ARGUMENT", fields.0)
    }
}

/// Whether `text` has so many characters and no control ones.
#[must_use]
pub fn is_text(text: &str, characters: RangeInclusive<usize>) -> bool {
    characters.contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn all_faulty_fields_are_told_and_good_ones_are_not() {
        let mut violations = Violations::default();
        violations.check(true, "a", "must be a");
        violations.check(false, "b", "must be b");
        violations.check(false, format!("c[{}]", 1), "must be c");
        assert_eq!(violations.take("d", "must be d", Some(4)), Some(4));
        let status = Status::from(violations.finish().unwrap_err());
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "b: must be b; c[1]: must be c"));
        let fields: Vec<_> =
            status.get_details_bad_request().unwrap().field_violations.into_iter().map(|found| found.field).collect();
        assert_eq!(fields, ["b", "c[1]"]);
        assert!(Violations::default().finish().is_ok());
        let mut violations = Violations::default();
        assert_eq!(violations.take::<u8>("d", "must be d", None), None);
        assert_eq!(violations.into_invalid().to_string(), "d: must be d");
    }

    #[test]
    fn text_is_counted_in_characters_and_has_no_control_ones() {
        assert!(is_text("kopi", 1..=4) && is_text("éé", 2..=2) && is_text("", 0..=3));
        assert!(!is_text("kopi", 1..=3) && !is_text("", 1..=3) && !is_text("a\nb", 1..=9));
    }
}
