//! How often one visitor may call, so that one who calls too often slows down nobody else: token buckets by session
//! and, for those who are not signed in, by network address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use sekat_mesh::Visitor;
use sekat_mesh::refusal::retry_after;
use sekat_policy::EndUserScope;
use tonic::{Code, Status};

use crate::config::{Rate, Rates};
use crate::routes::Route;

/// A bucket holds the calls of so many seconds: a page that loads calls in bursts.
const BURST_SECONDS: u32 = 2;
/// Buckets of one kind, about 150 bytes each. Who comes when all are taken shares one with all other newcomers.
const BUCKETS: usize = 65_536;
/// Between two looks for buckets that are full again, which is as good as none.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);
/// The workload whose anonymous methods make password hashes or tokens.
const ACCOUNT: &str = "account";

/// The buckets of one process.
#[derive(Debug)]
pub(crate) struct RateLimits {
    sessions: Limiter<String>,
    addresses: Limiter<IpAddr>,
    sign_ins: Limiter<IpAddr>,
}

impl RateLimits {
    pub(crate) fn new(rates: Rates) -> Self {
        let clock = DefaultClock::default();
        Self {
            sessions: Limiter::new(rates.per_session, BUCKETS, clock.clone()),
            addresses: Limiter::new(rates.per_address, BUCKETS, clock.clone()),
            sign_ins: Limiter::new(rates.sign_ins_per_address, BUCKETS, clock),
        }
    }

    /// Takes one call out of the visitor's bucket.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` with the time after which the bucket holds a call again.
    pub(crate) fn admit(&self, visitor: &Visitor, route: &Route) -> Result<(), Status> {
        let address = network(visitor.address.ip());
        let anonymous = route.policy.scopes.contains(&EndUserScope::Anonymous);
        let taken = match &visitor.end_user {
            // With a token or without: who guesses passwords may well have an account.
            _ if anonymous && route.api.workload == ACCOUNT => self.sign_ins.take(&address),
            Some(claims) => self.sessions.take(&claims.sid),
            None => self.addresses.take(&address),
        };
        taken.map_err(|wait| {
            retry_after(Code::ResourceExhausted, "RATE_LIMITED", "too many calls; try again a little later", wait)
        })
    }

    /// Forgets visitors who are gone, for ever and ever.
    pub(crate) async fn forget_idle(&self) {
        let mut times = tokio::time::interval(FORGET_INTERVAL);
        loop {
            times.tick().await;
            self.sessions.forget_idle();
            self.addresses.forget_idle();
            self.sign_ins.forget_idle();
        }
    }
}

/// The address that stands for a subscriber: of IPv6 the first half, since one customer is given at least 2^64
/// addresses (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

/// One bucket a key.
#[derive(Debug)]
struct Limiter<K: Hash + Eq + Clone, C: Clock = DefaultClock>(
    RateLimiter<K, Buckets<K>, C, NoOpMiddleware<C::Instant>>,
);

impl<K: Hash + Eq + Clone, C: Clock> Limiter<K, C> {
    fn new(Rate(per_second): Rate, buckets: usize, clock: C) -> Self {
        let burst = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_SECONDS - 1));
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let buckets = Buckets { most: buckets, state: Mutex::new(State { known: HashMap::new(), newcomers: None }) };
        Self(RateLimiter::new(quota, buckets, clock))
    }

    /// # Errors
    /// After which time to try again.
    fn take(&self, key: &K) -> Result<(), Duration> {
        self.0.check_key(key).map_err(|not_until| not_until.wait_time_from(self.0.clock().now()))
    }

    fn forget_idle(&self) {
        self.0.retain_recent();
    }
}

/// The levels of the buckets, of which there are no more than so many, whoever comes.
#[derive(Debug)]
struct Buckets<K> {
    most: usize,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    known: HashMap<K, Nanos>,
    /// The bucket that is shared by those for whom there is none left.
    newcomers: Option<Nanos>,
}

impl<K> Buckets<K> {
    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> StateStore for Buckets<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut state = self.state();
        if let Some(level) = state.known.get_mut(key) {
            let (decision, next) = decide(Some(*level))?;
            *level = next;
            return Ok(decision);
        }
        let room = state.known.len() < self.most;
        let (decision, next) = decide(if room { None } else { state.newcomers })?;
        if room {
            state.known.insert(key.clone(), next);
        } else {
            state.newcomers = Some(next);
        }
        Ok(decision)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Buckets<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.state().known.retain(|_, level| *level > drop_below);
    }

    fn len(&self) -> usize {
        self.state().known.len()
    }

    fn is_empty(&self) -> bool {
        self.state().known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    const TEN: Rate = Rate(NonZeroU32::new(10).unwrap());

    fn limiter(buckets: usize) -> (Limiter<&'static str, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limiter::new(TEN, buckets, clock.clone()), clock)
    }

    fn admitted(limiter: &Limiter<&'static str, FakeRelativeClock>, key: &'static str) -> usize {
        (0..1_000).take_while(|_| limiter.take(&key).is_ok()).count()
    }

    #[test]
    fn a_bucket_holds_two_seconds_and_fills_at_its_rate() {
        let (limiter, clock) = limiter(8);
        assert_eq!(admitted(&limiter, "loud"), 20);
        assert_eq!(limiter.take(&"loud"), Err(Duration::from_millis(100)));
        assert_eq!(limiter.take(&"quiet"), Ok(()), "the loud one is not the quiet one's business");
        clock.advance(Duration::from_millis(100));
        assert_eq!(admitted(&limiter, "loud"), 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(admitted(&limiter, "loud"), 10);
    }

    #[test]
    fn the_number_of_buckets_is_bounded_and_those_who_have_one_keep_it() {
        let (limiter, clock) = limiter(2);
        assert_eq!(limiter.take(&"a"), Ok(()));
        assert_eq!(limiter.take(&"b"), Ok(()));
        assert_eq!(admitted(&limiter, "c"), 20, "newcomers share one bucket");
        assert!(limiter.take(&"d").is_err());
        assert_eq!(admitted(&limiter, "a"), 19);
        assert_eq!(limiter.0.len(), 2);

        clock.advance(Duration::from_secs(3));
        limiter.forget_idle();
        assert!(limiter.0.is_empty());
        assert_eq!(admitted(&limiter, "d"), 20);
    }

    #[test]
    fn a_subscriber_is_one_address_or_one_ipv6_network() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let [one, other] = [one, other].map(|text| network(text.parse().unwrap()));
            assert_eq!(one == other, same, "{one} {other}");
        }
    }
}
