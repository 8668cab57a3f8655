//! Label selectors of Kubernetes: all labels and all expressions must match, and an empty selector matches everything.

use crate::read::cursor::{Cursor, Reading};

/// Which labels an object must have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<(String, String)>,
    expressions: Vec<Expression>,
}

#[derive(Clone, Debug)]
struct Expression {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    pub(crate) fn read(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["matchLabels", "matchExpressions"])?;
        let mut labels = Vec::new();
        if let Some(map) = at.get("matchLabels") {
            for (key, value) in map.entries()? {
                labels.push((key.name.clone(), value.text()?.to_owned()));
            }
        }
        let expressions = at.each("matchExpressions", Expression::read)?.unwrap_or_default();
        Ok(Self { labels, expressions })
    }

    pub(crate) fn matches<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.labels.iter().all(|(key, value)| label(key) == Some(value))
            && self.expressions.iter().all(|expression| expression.matches(label(&expression.key)))
    }

    /// The labels as they are written, for targets that give some of them a meaning of their own.
    pub(crate) fn labels(&self) -> &[(String, String)] {
        &self.labels
    }

    /// Whether there is nothing but labels.
    pub(crate) fn is_plain(&self) -> bool {
        self.expressions.is_empty()
    }
}

impl Expression {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["key", "operator", "values"])?;
        let operator = at.required("operator")?;
        let operator = match operator.text()? {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => return Err(operator.not_understood("this operator")),
        };
        let key = at.required("key")?.text()?.to_owned();
        Ok(Self { key, operator, values: at.texts("values")?.unwrap_or_default() })
    }

    fn matches(&self, value: Option<&str>) -> bool {
        let is_listed = value.is_some_and(|value| self.values.iter().any(|listed| listed == value));
        match self.operator {
            Operator::In => is_listed,
            // Also what has no such label at all.
            Operator::NotIn => !is_listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}
