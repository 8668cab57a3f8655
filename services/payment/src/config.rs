//! What a payment process is told from outside, and the limits that it keeps.

use std::path::PathBuf;

use sekat_mesh::Env;
use sekat_money::{Currency, Money};

use crate::error::Error;
use crate::intents::Bank;

/// What BCA takes by virtual account, in rupiah: the bounds that its aggregators publish for closed amounts. Below
/// it the bank's fee eats the payment, above it the bank's transfer limit for persons does not let it through.
pub const DEFAULT_BCA: AmountRange = AmountRange { min_rupiah: 10_000, max_rupiah: 50_000_000 };

/// The amounts that a way to pay takes, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmountRange {
    /// The least, in whole rupiah.
    pub min_rupiah: i64,
    /// The most, in whole rupiah.
    pub max_rupiah: i64,
}

impl AmountRange {
    /// Whether `amount` can be paid.
    ///
    /// # Errors
    /// [`Error::AmountNotPayable`] with the bounds.
    pub fn admit(self, amount: Money) -> Result<(), Error> {
        let bounds = [self.min_rupiah, self.max_rupiah].map(|rupiah| Money::from_units(Currency::Idr, rupiah));
        let [Ok(min), Ok(max)] = bounds else { return Err(Error::Stored("amount range")) };
        let is_rupiah = amount.currency() == Currency::Idr;
        if is_rupiah && (min.minor()..=max.minor()).contains(&amount.minor()) {
            Ok(())
        } else {
            Err(Error::AmountNotPayable(format!("{min} to {max}")))
        }
    }
}

/// Everything that a payment process is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of the store.
    pub data_dir: PathBuf,
    /// The name of this instance, which its chain of access records bears; the same across restarts.
    pub instance: String,
    /// What BCA takes.
    pub bca: AmountRange,
}

impl Config {
    /// Reads `SEKAT_DATA_DIR`, `SEKAT_INSTANCE` (default `payment-0`), `SEKAT_VA_BCA_MIN_RUPIAH` and
    /// `SEKAT_VA_BCA_MAX_RUPIAH`.
    pub fn read(env: &mut Env) -> Self {
        let bca = AmountRange {
            min_rupiah: env.optional("SEKAT_VA_BCA_MIN_RUPIAH", DEFAULT_BCA.min_rupiah),
            max_rupiah: env.optional("SEKAT_VA_BCA_MAX_RUPIAH", DEFAULT_BCA.max_rupiah),
        };
        // The simulator's and SNAP BI's amounts have 13 digits before the point.
        if bca.min_rupiah < 1 || bca.max_rupiah < bca.min_rupiah || bca.max_rupiah > 9_999_999_999_999 {
            env.problem(
                "SEKAT_VA_BCA_MAX_RUPIAH",
                "must not be below SEKAT_VA_BCA_MIN_RUPIAH, and both 1 or more with at most 13 digits",
            );
        }
        Self {
            data_dir: env.required("SEKAT_DATA_DIR"),
            instance: env.optional("SEKAT_INSTANCE", "payment-0".to_owned()),
            bca,
        }
    }

    /// What a payment by virtual account at `bank` may amount to.
    #[must_use]
    pub const fn range(&self, bank: Bank) -> AmountRange {
        match bank {
            Bank::Bca => self.bca,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_cross_are_a_problem_with_a_name() {
        let mut env = Env::from_vars([
            ("SEKAT_DATA_DIR", "/tmp/x"),
            ("SEKAT_VA_BCA_MIN_RUPIAH", "20000"),
            ("SEKAT_VA_BCA_MAX_RUPIAH", "10000"),
        ]);
        let _ = Config::read(&mut env);
        assert!(env.finish().unwrap_err().to_string().starts_with("SEKAT_VA_BCA_MAX_RUPIAH must not be below"));
    }

    #[test]
    fn defaults_are_the_banks_bounds() {
        let mut env = Env::from_vars([("SEKAT_DATA_DIR", "/tmp/x")]);
        let config = Config::read(&mut env);
        env.finish().unwrap();
        assert_eq!((config.range(Bank::Bca), config.instance.as_str()), (DEFAULT_BCA, "payment-0"));
    }
}
