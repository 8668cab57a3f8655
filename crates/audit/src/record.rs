//! What is kept of a span, an access record, a refusal or a link until its trace is complete: one size for all, so that
//! memory is counted and what does not fit goes to disk.

use crate::names::Name;

/// What a record is of. The order is that in which records of one span id are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Of {
    /// A span that crosses nothing.
    Internal,
    /// The called side of a call.
    Server,
    /// The calling side of a call.
    Client,
    /// A message that is published; `method` is the topic.
    Producer,
    /// A message that is consumed; `method` is the topic.
    Consumer,
    /// A database that is asked: `method` is its name, `peer` its address.
    Database,
    /// An access record: `peer` is the caller, `service` the callee.
    Access,
    /// An entry of an audit log: `method` is the true path, `sequence` its number.
    Refusal,
    /// A link to this record's span. `parent` is the span that has it, `method` that span's topic.
    Link,
}

impl Of {
    const ALL: [Self; 9] = [
        Self::Internal,
        Self::Server,
        Self::Client,
        Self::Producer,
        Self::Consumer,
        Self::Database,
        Self::Access,
        Self::Refusal,
        Self::Link,
    ];

    /// Whether it is a span.
    pub(crate) const fn is_span(self) -> bool {
        !matches!(self, Self::Access | Self::Refusal | Self::Link)
    }
}

/// Bits of [`Record::bits`].
pub(crate) mod bit {
    /// The span names the policy that decided: it was written by a stack like ours.
    pub(crate) const DECIDED: u16 = 1;
    /// The policy let the call in.
    pub(crate) const ALLOW: u16 = 2;
    /// The policy did not let the call in.
    pub(crate) const DENY: u16 = 4;
    /// Two dialects of the span tell different stories.
    pub(crate) const CONTRADICTORY: u16 = 8;
    /// The server did not know the method.
    pub(crate) const UNKNOWN_METHOD: u16 = 16;
    /// Attributes or links of the span were thrown away.
    pub(crate) const DROPPED: u16 = 32;
    /// The span's parent is in another process.
    pub(crate) const REMOTE: u16 = 64;
}

/// No status is known.
pub(crate) const NO_STATUS: u8 = u8::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) trace: u128,
    pub(crate) span: u64,
    /// 0 for none.
    pub(crate) parent: u64,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    /// The number of a refusal or an access record, 0 for none.
    pub(crate) sequence: u64,
    /// The path of the method.
    pub(crate) method: Name,
    /// The other side's identity, as its certificate said.
    pub(crate) peer: Name,
    /// The `service.name` that is claimed.
    pub(crate) service: Name,
    /// The identity with which the span was received.
    pub(crate) exporter: Name,
    /// The `service.instance.id` that is claimed.
    pub(crate) instance: Name,
    /// The digest of the policy that decided.
    pub(crate) policy: Name,
    pub(crate) bits: u16,
    pub(crate) of: Of,
    pub(crate) status: u8,
}

impl Record {
    /// Bytes of an encoded record.
    pub(crate) const BYTES: usize = 84;

    pub(crate) const EMPTY: Self = Self {
        trace: 0,
        span: 0,
        parent: 0,
        start_ns: 0,
        end_ns: 0,
        sequence: 0,
        method: Name::NONE,
        peer: Name::NONE,
        service: Name::NONE,
        exporter: Name::NONE,
        instance: Name::NONE,
        policy: Name::NONE,
        bits: 0,
        of: Of::Internal,
        status: NO_STATUS,
    };

    /// The order in which a trace is read; what differs in a span that came twice decides last, so that which of the
    /// two counts does not depend on which came first.
    pub(crate) const fn key(&self) -> (u128, u64, Of, u64, u64, u64, Name, u64) {
        (self.trace, self.span, self.of, self.start_ns, self.end_ns, self.sequence, self.method, self.parent)
    }

    pub(crate) const fn has(&self, bit: u16) -> bool {
        self.bits & bit != 0
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.trace.to_le_bytes());
        for number in [self.span, self.parent, self.start_ns, self.end_ns, self.sequence] {
            to.extend_from_slice(&number.to_le_bytes());
        }
        for Name(number) in [self.method, self.peer, self.service, self.exporter, self.instance, self.policy] {
            to.extend_from_slice(&number.to_le_bytes());
        }
        to.extend_from_slice(&self.bits.to_le_bytes());
        to.push(self.of as u8);
        to.push(self.status);
    }

    /// `None` if these are not [`Self::BYTES`] bytes of a record.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            let (array, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(*array)
        }
        let from = &mut bytes;
        let trace = u128::from_le_bytes(take(from)?);
        let mut number = || Some(u64::from_le_bytes(take(from)?));
        let (span, parent, start_ns, end_ns, sequence) = (number()?, number()?, number()?, number()?, number()?);
        let mut name = || Some(Name(u32::from_le_bytes(take(from)?)));
        let (method, peer, service) = (name()?, name()?, name()?);
        let (exporter, instance, policy) = (name()?, name()?, name()?);
        let bits = u16::from_le_bytes(take(from)?);
        let [of, status] = take(from)?;
        let of = *Of::ALL.get(usize::from(of))?;
        Some(Self {
            trace,
            span,
            parent,
            start_ns,
            end_ns,
            sequence,
            method,
            peer,
            service,
            exporter,
            instance,
            policy,
            bits,
            of,
            status,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_comes_back_from_disk_as_it_was(
            trace in any::<u128>(), numbers in any::<[u64; 5]>(), names in any::<[u32; 6]>(), bits in any::<u16>(),
            of in 0..Of::ALL.len(), status in any::<u8>(),
        ) {
            let [span, parent, start_ns, end_ns, sequence] = numbers;
            let [method, peer, service, exporter, instance, policy] = names.map(Name);
            let record = Record {
                trace, span, parent, start_ns, end_ns, sequence, method, peer, service, exporter, instance, policy, bits,
                of: Of::ALL[of], status,
            };
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), Record::BYTES);
            prop_assert_eq!(Record::decode(&bytes), Some(record));
            prop_assert_eq!(Record::decode(&bytes[1..]), None);
        }
    }
}
