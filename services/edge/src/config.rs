//! What the process is told: which of the three edges it is, and how often one visitor may call.

use std::num::NonZeroU32;

use sekat_mesh::{Env, FromEnv, Origins};

const ROLE: &str = "SEKAT_ROLE";

/// An app calls ten times for a screen; no person asks for twenty screens a second.
const PER_SESSION: Rate = Rate(NonZeroU32::new(200).unwrap());
/// Mobile operators put many people behind one address.
const PER_ADDRESS: Rate = Rate(NonZeroU32::new(1_000).unwrap());
/// Each costs the account service a password hash, made to be slow: two cores make about this many in a second.
const SIGN_INS_PER_ADDRESS: Rate = Rate(NonZeroU32::new(50).unwrap());

/// Which edge this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Where apps browse: in front of the showcase domain.
    ShowcaseEdge,
    /// Where apps buy and sellers sell: in front of the commerce domain.
    CommerceEdge,
    /// Where payment providers report.
    NotifyIngress,
}

impl Role {
    /// The role in this process's environment, if it holds one.
    #[must_use]
    pub fn of_process() -> Option<Self> {
        std::env::var(ROLE).ok().and_then(|text| Self::from_env(&text))
    }

    /// The workload's name in the contracts.
    #[must_use]
    pub const fn workload(self) -> &'static str {
        match self {
            Self::ShowcaseEdge => "showcase-edge",
            Self::CommerceEdge => "commerce-edge",
            Self::NotifyIngress => "notify-ingress",
        }
    }
}

impl FromEnv for Role {
    const EXPECTED: &'static str = "showcase-edge, commerce-edge or notify-ingress";

    fn from_env(text: &str) -> Option<Self> {
        [Self::ShowcaseEdge, Self::CommerceEdge, Self::NotifyIngress].into_iter().find(|role| role.workload() == text)
    }

    fn placeholder() -> Self {
        Self::ShowcaseEdge
    }
}

/// Settings of an edge.
#[derive(Clone, Debug)]
pub struct Config {
    /// `SEKAT_ROLE`: which edge this is.
    pub role: Role,
    /// How often one visitor may call.
    pub rates: Rates,
    /// `SEKAT_WEB_ORIGINS`: the origins whose web pages may call.
    pub origins: Origins,
}

/// How often one visitor may call.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// `SEKAT_RATE_PER_SECOND`: one session.
    pub per_session: Rate,
    /// `SEKAT_ANONYMOUS_PER_SECOND`: all together who come from one address and are not signed in.
    pub per_address: Rate,
    /// `SEKAT_SIGN_IN_PER_SECOND`: those who sign up, sign in or renew a session from one address.
    pub sign_ins_per_address: Rate,
}

/// Calls per second that are admitted for as long as one likes; twice as many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub NonZeroU32);

impl FromEnv for Rate {
    const EXPECTED: &'static str = "a whole number of calls per second, at least 1";

    fn from_env(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    fn placeholder() -> Self {
        Self(NonZeroU32::MIN)
    }
}

impl Config {
    /// Reads the settings; what is wrong is collected in `env`.
    pub fn read(env: &mut Env) -> Self {
        Self {
            role: env.required(ROLE),
            rates: Rates {
                per_session: env.optional("SEKAT_RATE_PER_SECOND", PER_SESSION),
                per_address: env.optional("SEKAT_ANONYMOUS_PER_SECOND", PER_ADDRESS),
                sign_ins_per_address: env.optional("SEKAT_SIGN_IN_PER_SECOND", SIGN_INS_PER_ADDRESS),
            },
            origins: env.optional("SEKAT_WEB_ORIGINS", Origins::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_reported_by_name() {
        let bad = [("SEKAT_ROLE", "payment"), ("SEKAT_RATE_PER_SECOND", "0"), ("SEKAT_SIGN_IN_PER_SECOND", "many")];
        let mut env = Env::from_vars(bad);
        Config::read(&mut env);
        let report = env.finish().unwrap_err().to_string();
        let role = "SEKAT_ROLE must be showcase-edge, commerce-edge or notify-ingress";
        for line in [role, "SEKAT_RATE_PER_SECOND must be a whole", "SEKAT_SIGN_IN_PER_SECOND must be a whole"] {
            assert!(report.contains(line), "{report}");
        }
        assert_eq!(report.lines().count(), bad.len(), "{report}");
    }

    #[test]
    fn each_role_is_read_and_its_rates_have_defaults() {
        for role in [Role::ShowcaseEdge, Role::CommerceEdge, Role::NotifyIngress] {
            let mut env = Env::from_vars([("SEKAT_ROLE", role.workload()), ("SEKAT_SIGN_IN_PER_SECOND", "7")]);
            let config = Config::read(&mut env);
            env.finish().unwrap();
            let Rates { per_session, per_address, sign_ins_per_address } = config.rates;
            assert_eq!(config.role, role);
            assert_eq!([per_session, per_address, sign_ins_per_address].map(|rate| rate.0.get()), [200, 1_000, 7]);
        }
    }
}
