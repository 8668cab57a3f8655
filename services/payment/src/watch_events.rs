//! WatchPaymentEvents: what happened since the reader last looked, then what happens, until the stream is ended from
//! outside (its deadline, its connection, a shutdown).

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use tokio::sync::watch;

use crate::error::Error;
use crate::events::{Stored, after, head};
use crate::service::Payment;

/// Events that one read takes: a few milliseconds of a reader's time, and a few kilobytes for a slow reader.
const BATCH: i64 = 128;

/// The longest time without a look: an announcement is lost if its call was dropped right after its commit.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The number in a resume token; an empty one stands before the first event.
///
/// # Errors
/// [`Error::ResumeTokenUnknown`].
pub fn position(token: &str) -> Result<i64, Error> {
    if token.is_empty() {
        return Ok(0);
    }
    let canonical = |seq: &i64| *seq > 0 && seq.to_string() == token;
    token.parse().ok().filter(canonical).ok_or(Error::ResumeTokenUnknown)
}

/// The events after `position`, oldest first, each once.
///
/// # Errors
/// [`Error::ResumeTokenUnknown`] if there never was such an event: the reader has seen what this store does not hold.
pub async fn watch(
    payment: Payment,
    position: i64,
) -> Result<impl Stream<Item = Result<Stored, Error>> + use<>, Error> {
    if position > payment.store.read(head).await? {
        return Err(Error::ResumeTokenUnknown);
    }
    let news = payment.news.subscribe();
    let reader = Reader { payment, news, position, batch: VecDeque::new(), failed: false };
    Ok(unfold(reader, async |mut reader| reader.next().await.map(|event| (event, reader))))
}

struct Reader {
    payment: Payment,
    news: watch::Receiver<u64>,
    /// The last event that was handed out.
    position: i64,
    batch: VecDeque<Stored>,
    failed: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Stored, Error>> {
        if self.failed {
            return None;
        }
        loop {
            if let Some(event) = self.batch.pop_front() {
                self.position = event.seq;
                return Some(Ok(event));
            }
            // Before the look: what is announced after it wakes the wait below.
            self.news.mark_unchanged();
            let position = self.position;
            match self.payment.store.read(move |tx| after(tx, position, BATCH)).await {
                Ok(events) if events.is_empty() => {
                    // Both ends of the wait lead to the next look.
                    let _ = tokio::time::timeout(LOOK_AGAIN, self.news.changed()).await;
                }
                Ok(events) => self.batch = events.into(),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_exactly_what_was_handed_out() {
        for (token, expected) in
            [("", Some(0)), ("1", Some(1)), ("42", Some(42)), ("9223372036854775807", Some(i64::MAX))]
        {
            assert_eq!(position(token).ok(), expected, "{token:?}");
        }
        for token in ["0", "-1", "+1", "01", " 1", "1 ", "x", "9223372036854775808"] {
            assert!(matches!(position(token), Err(Error::ResumeTokenUnknown)), "{token:?}");
        }
    }
}
