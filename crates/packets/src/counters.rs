//! The counters of nftables, by source, destination, protocol and port.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use sekat_policy::intent::Protocol;
use serde_json::Value;

use crate::Error;
use crate::netns::Netns;
use crate::rules::{ACCEPTED, ARRIVED, NOT_LET_IN, NOT_LET_OUT};

/// Source, destination, protocol and the destination's port.
pub(crate) type Key = (Ipv4Addr, Ipv4Addr, Protocol, u16);

/// How many packets each verdict has counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(BTreeMap<(&'static str, Key), u64>);

impl Counters {
    /// The router's verdicts as they stand.
    pub(crate) fn verdicts(router: &Netns) -> Result<Self, Error> {
        Self::read(router, &[ACCEPTED, NOT_LET_OUT, NOT_LET_IN])
    }

    /// What has arrived in a pod.
    pub(crate) fn arrivals(pod: &Netns) -> Result<Self, Error> {
        Self::read(pod, &[ARRIVED])
    }

    /// Adds those of another namespace.
    pub(crate) fn extend(&mut self, other: Self) {
        for (key, packets) in other.0 {
            let sum = self.0.entry(key).or_default();
            *sum = sum.saturating_add(packets);
        }
    }

    /// The packets that the set has counted since `before`.
    pub(crate) fn since(&self, before: &Self, set: &'static str, key: Key) -> u64 {
        let of = |counters: &Self| counters.0.get(&(set, key)).copied().unwrap_or_default();
        of(self).saturating_sub(of(before))
    }

    fn read(netns: &Netns, sets: &[&'static str]) -> Result<Self, Error> {
        let answer = netns.ask_nft(&["list", "sets", "inet"])?;
        parse(&answer, sets).ok_or(Error::Answer { program: "nft", source: None })
    }
}

fn parse(answer: &Value, sets: &[&'static str]) -> Option<Counters> {
    let mut counters = Counters::default();
    let mut listed = 0_usize;
    for object in answer.get("nftables")?.as_array()? {
        let Some(set) = object.get("set") else { continue };
        let name = set.get("name")?.as_str()?;
        let Some(name) = sets.iter().find(|known| **known == name) else { continue };
        listed = listed.saturating_add(1);
        // A set without elements has no `elem`.
        for element in set.get("elem").and_then(Value::as_array).into_iter().flatten() {
            let element = element.get("elem")?;
            let packets = element.get("counter")?.get("packets")?.as_u64()?;
            counters.0.insert((name, key(element.get("val")?.get("concat")?)?), packets);
        }
    }
    (listed == sets.len()).then_some(counters)
}

fn key(concat: &Value) -> Option<Key> {
    let [source, destination, protocol, port] = concat.as_array()?.as_slice() else { return None };
    let address = |value: &Value| value.as_str()?.parse().ok();
    let protocol = match protocol.as_str()? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    Some((address(source)?, address(destination)?, protocol, u16::try_from(port.as_u64()?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_understood_is_not_taken_for_zero() {
        let element = |concat: &str| {
            let text = format!(
                r#"{{"nftables": [{{"metainfo": {{}}}}, {{"set": {{"name": "accepted", "elem":
                [{{"elem": {{"val": {{"concat": {concat}}}, "counter": {{"packets": 3, "bytes": 9}}}}}}]}}}}]}}"#
            );
            parse(&serde_json::from_str(&text).unwrap(), &[ACCEPTED])
        };
        assert!(parse(&serde_json::json!({"nftables": []}), &[ACCEPTED]).is_none(), "the set is not there");
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let counters = element(r#"["10.0.0.1", "10.0.0.2", "sctp", 80]"#).unwrap();
        assert_eq!(counters.since(&Counters::default(), ACCEPTED, (a, b, Protocol::Sctp, 80)), 3);
        assert_eq!(counters.since(&counters, ACCEPTED, (a, b, Protocol::Sctp, 80)), 0);
        for unknown in [r#"["10.0.0.1", "10.0.0.2", "sctp"]"#, r#"["10.0.0.1", "10.0.0.2", 9, 80]"#, r#""x""#] {
            assert!(element(unknown).is_none(), "{unknown}");
        }
    }
}
