//! The bank's memory: one JSON event a line, durable before any reply that depends on it. Events that arrive
//! together share one `fsync`.

use crate::book::Event;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::mpsc;
use tokio::sync::oneshot;

/// How many events one write holds at most; bounds the memory and the wait of the first.
const MAX_BATCH: usize = 1_024;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened, read or locked.
    #[error("the journal cannot be opened; is another bank running on it?")]
    Open(#[source] io::Error),
    /// A line that was once durable is not an event.
    #[error("line {line} of the journal is not an event; restore the file or start on a new one")]
    Corrupt {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// An event could not be made durable.
    #[error("the journal cannot be written; the bank must stop")]
    Write(#[source] io::Error),
    /// The writer stopped before.
    #[error("the journal has stopped")]
    Stopped,
}

enum Entry {
    Line(Vec<u8>),
    Barrier(oneshot::Sender<()>),
}

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: mpsc::Sender<Entry>,
}

impl Journal {
    /// Opens the file, made if absent, and reads back its events. A last line without its end was never
    /// acknowledged (the process died in the middle of it) and is cut off.
    ///
    /// The third value resolves when a write fails, after which no reply can leave, or, as an error, when the journal
    /// was dropped and its file is closed.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Event>, oneshot::Receiver<JournalError>), JournalError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(JournalError::Open)?;
        file.try_lock().map_err(|error| JournalError::Open(error.into()))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(JournalError::Open)?;
        let (events, whole) = read_back(&bytes)?;
        file.set_len(whole).map_err(JournalError::Open)?;
        file.seek(SeekFrom::End(0)).map_err(JournalError::Open)?;
        let (entries, queue) = mpsc::channel();
        let (failed, failure) = oneshot::channel();
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                let outcome = write_all(&mut file, &queue);
                // Closed, and so unlocked, before anybody learns of the end.
                drop(file);
                if let Err(error) = outcome {
                    // Nobody listens any more only if the bank is already stopping.
                    let _ = failed.send(JournalError::Write(error));
                }
            })
            .map_err(JournalError::Open)?;
        Ok((Self { entries }, events, failure))
    }

    /// Queues an event. Callers queue in the order in which they changed the book.
    pub(crate) fn append(&self, event: &Event) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(event).map_err(|error| JournalError::Write(error.into()))?;
        line.push(b'\n');
        self.entries.send(Entry::Line(line)).map_err(|_| JournalError::Stopped)
    }

    /// Waits until everything queued before is durable.
    pub(crate) async fn durable(&self) -> Result<(), JournalError> {
        let (done, waiting) = oneshot::channel();
        self.entries.send(Entry::Barrier(done)).map_err(|_| JournalError::Stopped)?;
        waiting.await.map_err(|_| JournalError::Stopped)
    }
}

fn read_back(bytes: &[u8]) -> Result<(Vec<Event>, u64), JournalError> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = bytes.get(..whole).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
    let events = lines
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_slice(line).map_err(|source| JournalError::Corrupt { line: index + 1, source })
        })
        .collect::<Result<_, _>>()?;
    Ok((events, u64::try_from(whole).unwrap_or(u64::MAX)))
}

fn write_all(file: &mut File, queue: &mpsc::Receiver<Entry>) -> io::Result<()> {
    while let Ok(first) = queue.recv() {
        let mut lines = Vec::new();
        let mut waiting = Vec::new();
        for entry in std::iter::once(first).chain(queue.try_iter().take(MAX_BATCH)) {
            match entry {
                Entry::Line(line) => lines.extend_from_slice(&line),
                Entry::Barrier(done) => waiting.push(done),
            }
        }
        if !lines.is_empty() {
            file.write_all(&lines)?;
            file.sync_data()?;
        }
        for done in waiting {
            // A caller that went away needs no answer.
            let _ = done.send(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cancelled(trx_id: &str) -> Event {
        Event::Cancelled { trx_id: trx_id.to_owned() }
    }

    fn names(events: &[Event]) -> Vec<String> {
        events.iter().map(|event| serde_json::to_value(event).unwrap()["trx_id"].as_str().unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn events_come_back_after_a_torn_write_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bank.jsonl");
        let (journal, events, closed) = Journal::open(&path).unwrap();
        assert!(events.is_empty());
        journal.append(&cancelled("one")).unwrap();
        journal.append(&cancelled("two")).unwrap();
        journal.durable().await.unwrap();
        drop(journal);
        closed.await.unwrap_err();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], br#"{"event":"cancel"#].concat()).unwrap();
        let (journal, events, _failure) = Journal::open(&path).unwrap();
        assert_eq!(names(&events), ["one", "two"]);
        journal.append(&cancelled("three")).unwrap();
        journal.durable().await.unwrap();
        let (events, _) = read_back(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(names(&events), ["one", "two", "three"]);
    }

    #[test]
    fn a_broken_line_in_the_middle_is_named() {
        let error = read_back(b"{\"event\":\"cancelled\",\"trx_id\":\"a\"}\n{}\n").unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { line: 2, .. }), "{error}");
    }

    #[tokio::test]
    async fn two_banks_cannot_share_a_journal() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bank.jsonl");
        let (_journal, ..) = Journal::open(&path).unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::Open(_))));
    }
}
