//! What the process is told.

use std::path::PathBuf;
use std::time::Duration;

use sekat_mesh::Env;
use sekat_money::{Currency, Money};

/// Catalog holds stock for at most 7 days, and a hold outlives its order by [`HOLD_MARGIN`].
const LONGEST_ORDER_TTL: Duration = Duration::from_hours(6 * 24);

/// How much longer stock is held than an order waits for its payment: money that comes at the last moment finds the
/// hold in place, and it is given back by the order and not by its lapse.
pub(crate) const HOLD_MARGIN: Duration = Duration::from_hours(1);

/// What is asked for shipping at most; a figure above it is a mistake.
const HIGHEST_SHIPPING_FEE_RUPIAH: u32 = 10_000_000;

/// Settings of the order service.
#[derive(Clone, Debug)]
pub struct Config {
    /// `SEKAT_DATA_DIR`: where the store is.
    pub data_dir: PathBuf,
    /// `SEKAT_INSTANCE`: the name of this instance in its access chain.
    pub instance: String,
    /// `SEKAT_TRUST_DIR`: where `showcase-handoff.pem` is, the public keys of handoffs.
    pub trust_dir: PathBuf,
    /// `SEKAT_ORDER_TTL`: how long a buyer has to pay; 1 second to 6 days, 24 hours by default.
    pub order_ttl: Duration,
    /// `SEKAT_SHIPPING_FEE`: what shipping costs for each seller of an order, in rupiah; 12,000 by default.
    pub shipping_fee: Money,
    /// `SEKAT_OPERATOR`: the public name of the marketplace's operator, shown with every cart and order.
    pub operator: String,
}

impl Config {
    /// Reads the settings; what is wrong is collected in `env`.
    pub fn read(env: &mut Env) -> Self {
        let order_ttl = env.optional("SEKAT_ORDER_TTL", Duration::from_hours(24));
        if !(Duration::from_secs(1)..=LONGEST_ORDER_TTL).contains(&order_ttl) {
            env.problem("SEKAT_ORDER_TTL", "must be from 1s to 144h");
        }
        let fee: u32 = env.optional("SEKAT_SHIPPING_FEE", 12_000);
        let shipping_fee = Money::from_units(Currency::Idr, fee.into()).unwrap_or(Money::zero(Currency::Idr));
        if fee > HIGHEST_SHIPPING_FEE_RUPIAH {
            env.problem("SEKAT_SHIPPING_FEE", "must be at most 10000000 (rupiah)");
        }
        Self {
            data_dir: env.required("SEKAT_DATA_DIR"),
            instance: env.optional("SEKAT_INSTANCE", "order-0".to_owned()),
            trust_dir: env.required("SEKAT_TRUST_DIR"),
            order_ttl,
            shipping_fee,
            operator: env.optional("SEKAT_OPERATOR", "Sekat Niaga".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: [(&str, &str); 2] = [("SEKAT_DATA_DIR", "/data"), ("SEKAT_TRUST_DIR", "/trust")];

    #[test]
    fn defaults_fill_what_is_not_set() {
        let mut env = Env::from_vars(NEEDED);
        let config = Config::read(&mut env);
        env.finish().unwrap();
        assert_eq!(config.order_ttl, Duration::from_hours(24));
        assert_eq!(config.shipping_fee.to_string(), "Rp 12.000");
    }

    #[test]
    fn what_cannot_be_is_a_problem_by_name() {
        let limits = [("SEKAT_ORDER_TTL", "145h"), ("SEKAT_ORDER_TTL", "0s"), ("SEKAT_SHIPPING_FEE", "10000001")];
        for (name, value) in limits {
            let mut env = Env::from_vars(NEEDED.into_iter().chain([(name, value)]));
            Config::read(&mut env);
            assert!(env.finish().unwrap_err().to_string().starts_with(name), "{name}={value}");
        }
    }
}
