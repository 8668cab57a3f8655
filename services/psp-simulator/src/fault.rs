//! Named faults: what a bank does to its partners, on request and a stated number of times.

use crate::snap::Service;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A fault by its name on the control port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// A call does its work; then the connection drops instead of a reply.
    LostReply,
    /// A call does its work and is answered after a delay.
    Slow,
    /// A call is refused before it does anything.
    Refuse,
    /// The next payment's notification is sent as many times as armed, all at once.
    Duplicate,
    /// A payment is taken although its bill has expired, and its notification waits for the release.
    Late,
    /// A delivery of a notification bears a signature of which one bit is wrong.
    WrongSignature,
}

/// A fault that waits for its occasion.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Armed {
    pub(crate) fault: Fault,
    /// How often it strikes; 0 disarms it. For `duplicate`: the number of notifications.
    pub(crate) times: u32,
    /// The service whose calls `lost-reply`, `slow` and `refuse` strike; any of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<Service>,
    /// How long `slow` waits.
    #[serde(default = "default_delay_ms")]
    pub(crate) delay_ms: u64,
}

/// Longer than a partner's usual deadline for one call.
const fn default_delay_ms() -> u64 {
    5_000
}

impl Armed {
    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }
}

/// The armed faults; at most one for each name and service, the latest.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Armed>>);

impl Faults {
    pub(crate) fn arm(&self, armed: Armed) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| (other.fault, other.service) != (armed.fault, armed.service));
        if armed.times > 0 {
            all.push(armed);
        }
    }

    /// All that wait.
    pub(crate) fn armed(&self) -> Vec<Armed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_armed(&self, fault: Fault) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|armed| armed.fault == fault)
    }

    /// Strikes once if `fault` is armed for `service`, or for any.
    pub(crate) fn strike(&self, fault: Fault, service: Option<Service>) -> Option<Armed> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_meant =
            |armed: &&mut Armed| armed.fault == fault && (armed.service.is_none() || armed.service == service);
        let armed = all.iter_mut().find(is_meant)?;
        armed.times -= 1;
        let struck = armed.clone();
        all.retain(|armed| armed.times > 0);
        Some(struck)
    }

    /// Strikes as many times as `fault` is armed, at once; 0 if it is not.
    pub(crate) fn strike_all(&self, fault: Fault) -> u32 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = all.iter().find(|armed| armed.fault == fault).map_or(0, |armed| armed.times);
        all.retain(|armed| armed.fault != fault);
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed(fault: Fault, times: u32, service: Option<Service>) -> Armed {
        Armed { fault, times, service, delay_ms: 1 }
    }

    #[test]
    fn a_fault_strikes_as_often_as_armed_and_only_where_meant() {
        let faults = Faults::default();
        faults.arm(armed(Fault::LostReply, 2, Some(Service::CreateVa)));
        assert!(faults.strike(Fault::Refuse, Some(Service::CreateVa)).is_none());
        assert!(faults.strike(Fault::LostReply, Some(Service::Status)).is_none());
        assert!(faults.strike(Fault::LostReply, Some(Service::CreateVa)).is_some());
        assert!(faults.strike(Fault::LostReply, Some(Service::CreateVa)).is_some());
        assert!(faults.strike(Fault::LostReply, Some(Service::CreateVa)).is_none());
        assert!(faults.armed().is_empty());
    }

    #[test]
    fn arming_again_replaces_and_zero_disarms() {
        let faults = Faults::default();
        faults.arm(armed(Fault::Duplicate, 5, None));
        faults.arm(armed(Fault::Duplicate, 3, None));
        assert_eq!(faults.strike_all(Fault::Duplicate), 3);
        assert_eq!(faults.strike_all(Fault::Duplicate), 0);
        faults.arm(armed(Fault::Late, 1, None));
        faults.arm(armed(Fault::Late, 0, None));
        assert!(faults.armed().is_empty());
    }
}
