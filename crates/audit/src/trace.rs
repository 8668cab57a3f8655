//! One complete trace: which records belong together. Only ids join them; clocks differ, and names are claims.

use crate::record::{Of, Record};

/// The records of a trace, in the order of their span ids, each span once.
#[derive(Debug)]
pub(crate) struct Trace<'a> {
    records: &'a [Record],
    /// Clients that some other span answers.
    answered: Vec<bool>,
}

/// What was wrong with the ids of a trace.
#[derive(Debug, Default)]
pub(crate) struct Twice {
    /// Spans that came again with the same content.
    pub(crate) same: u64,
    /// Spans that came again with another content.
    pub(crate) different: Vec<Record>,
}

/// Leaves each span once. Deliveries are repeated, which is no fault; two contents under one id are.
pub(crate) fn dedupe(records: &mut Vec<Record>) -> Twice {
    let mut twice = Twice::default();
    let mut kept: Vec<Record> = Vec::with_capacity(records.len());
    for record in records.drain(..) {
        // Of one id there are at most two spans, and they stand first; of records and links only equal ones clash, and
        // these stand side by side. So nobody can make this slow by repeating an id.
        let reach = if record.of.is_span() { 2 } else { 1 };
        let mut same_id = kept.iter().rev().take(reach).take_while(|other| other.span == record.span);
        let clash = same_id.find(|other| clashes(other, &record)).copied();
        match clash {
            None => kept.push(record),
            Some(other) if other == record => twice.same += 1,
            Some(_) => twice.different.push(record),
        }
    }
    *records = kept;
    twice
}

/// Whether two records of one id cannot both be. Zipkin's libraries give both halves of a call one id.
fn clashes(one: &Record, other: &Record) -> bool {
    match (one.of, other.of) {
        (Of::Client, Of::Server) | (Of::Server, Of::Client) => false,
        (one_of, other_of) if one_of.is_span() && other_of.is_span() => true,
        // Records, refusals and links of one span may be many.
        _ => one == other,
    }
}

impl<'a> Trace<'a> {
    /// `records` are deduped.
    pub(crate) fn new(records: &'a [Record]) -> Self {
        let mut trace = Self { records, answered: vec![false; records.len()] };
        // A call of a library that also records its attempts, or that a proxy makes once more, is answered by these.
        for record in records.iter().filter(|record| record.of == Of::Client && record.parent != 0) {
            if let Some((index, outer)) = trace.span(record.parent, |other| other.of == Of::Client)
                && outer.method == record.method
            {
                trace.answer(index);
            }
        }
        trace
    }

    pub(crate) fn records(&self) -> &'a [Record] {
        self.records
    }

    /// The first span of that id that is as wanted, and its place.
    pub(crate) fn span(&self, id: u64, wanted: impl Fn(&Record) -> bool) -> Option<(usize, &'a Record)> {
        self.all(id).find(|(_, record)| wanted(record))
    }

    /// All records of that span id.
    pub(crate) fn all(&self, id: u64) -> impl Iterator<Item = (usize, &'a Record)> {
        let first = self.records.partition_point(|record| record.span < id);
        let rest = self.records.get(first..).unwrap_or_default();
        rest.iter().take_while(move |record| record.span == id).enumerate().map(move |(index, it)| (first + index, it))
    }

    /// What a server's span hangs on: the client's half, or whatever else has its parent's id.
    pub(crate) fn parent(&self, server: &Record) -> Option<(usize, &'a Record)> {
        let shared = self.span(server.span, |record| record.of == Of::Client);
        shared.or_else(|| {
            if server.parent == 0 {
                return None;
            }
            let client = self.span(server.parent, |record| record.of == Of::Client);
            client.or_else(|| self.span(server.parent, |record| record.of.is_span()))
        })
    }

    /// The access records of a server's span.
    pub(crate) fn accesses(&self, server: &Record) -> impl Iterator<Item = &'a Record> {
        self.all(server.span).map(|(_, record)| record).filter(|record| record.of == Of::Access)
    }

    /// The entries of audit logs in this trace that have that number, or the first hundred if it is 0. They name no span.
    pub(crate) fn refusals(&self, sequence: u64) -> impl Iterator<Item = &'a Record> {
        let before = |record: &Record| {
            (record.span, record.of) < (0, Of::Refusal)
                || (record.span, record.of) == (0, Of::Refusal) && record.sequence < sequence
        };
        let first = self.records.partition_point(before);
        let rest = self.records.get(first..).unwrap_or_default().iter();
        let mine = rest.take_while(move |record| {
            record.span == 0 && record.of == Of::Refusal && (sequence == 0 || record.sequence == sequence)
        });
        mine.take(100)
    }

    pub(crate) fn answer(&mut self, client: usize) {
        if let Some(answered) = self.answered.get_mut(client) {
            *answered = true;
        }
    }

    pub(crate) fn is_answered(&self, client: usize) -> bool {
        self.answered.get(client).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(span: u64, parent: u64, of: Of) -> Record {
        Record { trace: 1, span, parent, of, ..Record::EMPTY }
    }

    #[test]
    fn a_span_that_comes_twice_counts_once_and_two_contents_are_seen() {
        let twin = record(2, 0, Of::Server);
        let other = Record { start_ns: 5, ..twin };
        let mut records = vec![record(1, 0, Of::Client), twin, other, twin, record(2, 0, Of::Access)];
        records.sort_by_key(Record::key);
        let twice = dedupe(&mut records);
        assert_eq!((twice.same, twice.different), (1, vec![other]));
        assert_eq!(records.len(), 3);
    }

    #[test]
    fn a_server_finds_its_client_by_parent_or_by_shared_id() {
        let records =
            [record(1, 0, Of::Client), record(2, 1, Of::Server), record(3, 0, Of::Server), record(3, 0, Of::Client)];
        let mut sorted = records;
        sorted.sort_by_key(Record::key);
        let trace = Trace::new(&sorted);
        assert_eq!(trace.parent(&records[1]).unwrap().1, &records[0]);
        assert_eq!(trace.parent(&records[2]).unwrap().1, &records[3]);
        assert_eq!(trace.parent(&record(9, 8, Of::Server)), None);
    }

    #[test]
    fn attempts_answer_the_call_that_they_are_of() {
        let records = [record(1, 0, Of::Client), record(2, 1, Of::Client)];
        let trace = Trace::new(&records);
        assert_eq!((trace.is_answered(0), trace.is_answered(1)), (true, false));
    }
}
