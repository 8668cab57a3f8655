//! The bank itself: its book, its journal, its keys and what it owes its partner, in one place for all ports.

use crate::amount::Amount;
use crate::book::{Book, Charge, Event, Payment, Refusal, Standing};
use crate::fault::{Fault, Faults};
use crate::journal::{Journal, JournalError};
use crate::notify::Notifier;
use crate::signature::{KeyError, Keys};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use time::macros::offset;
use time::{Date, OffsetDateTime};

/// Access tokens that live at once. A partner needs one; more than this many is a partner gone wild.
const MAX_TOKENS: usize = 4_096;

/// Who the partner is.
#[derive(Debug)]
pub(crate) struct Partner {
    pub(crate) client_id: String,
    /// Padded with spaces on the left to 8 characters.
    pub(crate) service_id: String,
    pub(crate) token_life: Duration,
}

/// The state of the running bank.
pub(crate) struct Bank {
    pub(crate) partner: Partner,
    pub(crate) keys: Arc<Keys>,
    pub(crate) faults: Arc<Faults>,
    notifier: Notifier,
    journal: Journal,
    book: Mutex<Book>,
    tokens: Mutex<HashMap<String, Instant>>,
    tokens_issued: AtomicU64,
    external_ids: Mutex<(Option<Date>, HashSet<String>)>,
    held: Mutex<Vec<String>>,
    deliveries: Mutex<HashMap<String, Deliveries>>,
}

/// How a payment's notifications fared since the bank started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deliveries {
    pub(crate) attempts: u32,
    pub(crate) accepted: u32,
}

/// Why a change did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the journal failed")]
    Journal(#[from] JournalError),
    #[error("no random numbers")]
    Random(#[from] KeyError),
}

impl Bank {
    pub(crate) fn new(
        partner: Partner,
        keys: Arc<Keys>,
        faults: Arc<Faults>,
        notifier: Notifier,
        journal: Journal,
        book: Book,
    ) -> Self {
        Self {
            partner,
            keys,
            faults,
            notifier,
            journal,
            book: Mutex::new(book),
            tokens: Mutex::default(),
            tokens_issued: AtomicU64::new(0),
            external_ids: Mutex::default(),
            held: Mutex::default(),
            deliveries: Mutex::default(),
        }
    }

    /// A new access token.
    pub(crate) fn issue_token(&self) -> Result<String, KeyError> {
        let token = self.keys.unguessable::<32>()?;
        let now = Instant::now();
        let mut tokens = lock(&self.tokens);
        tokens.retain(|_, expiry| *expiry > now);
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(token.clone(), now + self.partner.token_life);
        self.tokens_issued.fetch_add(1, Ordering::Relaxed);
        Ok(token)
    }

    /// How many access tokens the bank has issued since it started.
    pub(crate) fn tokens_issued(&self) -> u64 {
        self.tokens_issued.load(Ordering::Relaxed)
    }

    pub(crate) fn token_is_valid(&self, token: &str) -> bool {
        lock(&self.tokens).get(token).is_some_and(|expiry| *expiry > Instant::now())
    }

    /// Notes an `X-EXTERNAL-ID`; false if the partner used it before on the same day in Jakarta. A restarted bank
    /// has forgotten them, which is why nobody may rely on them for idempotency.
    pub(crate) fn note_external_id(&self, id: &str, now: OffsetDateTime) -> bool {
        let today = now.to_offset(offset!(+7)).date();
        let (day, ids) = &mut *lock(&self.external_ids);
        if *day != Some(today) {
            *day = Some(today);
            ids.clear();
        }
        ids.insert(id.to_owned())
    }

    /// Decides and makes a change. Returns when it is durable, also if there was nothing left to change, so that
    /// no reply ever promises what a crash can undo.
    pub(crate) async fn change(
        &self,
        decide: impl FnOnce(&Book) -> Result<(String, Option<Event>), Refusal>,
    ) -> Result<Charge, Failure> {
        let charge = {
            let mut book = lock(&self.book);
            let (trx_id, event) = decide(&book)?;
            if let Some(event) = event {
                // INVARIANT: events are queued under the book's lock, so the journal has their order.
                self.journal.append(&event)?;
                book.apply(event);
            }
            book.charge(&trx_id).cloned().ok_or(Refusal::Unknown)?
        };
        self.journal.durable().await?;
        Ok(charge)
    }

    /// The charge of a virtual account number, as durable as a reply needs it.
    pub(crate) async fn find(&self, number: &str) -> Result<Charge, Failure> {
        self.change(|book| Ok((book.charge_by_number(number)?.terms.trx_id.clone(), None))).await
    }

    /// All charges with the fate of their notifications, in the order of their `trxId`.
    pub(crate) fn charges(&self) -> Vec<(Charge, Deliveries)> {
        let mut charges: Vec<Charge> = lock(&self.book).charges().cloned().collect();
        charges.sort_by(|one, other| one.terms.trx_id.cmp(&other.terms.trx_id));
        let deliveries = lock(&self.deliveries);
        let with_deliveries = |charge: Charge| {
            let fate = deliveries.get(&charge.terms.trx_id).copied().unwrap_or_default();
            (charge, fate)
        };
        charges.into_iter().map(with_deliveries).collect()
    }

    /// A payer pays, the whole bill unless `amount` says otherwise, and the partner is notified in the background.
    pub(crate) async fn pay(self: &Arc<Self>, number: &str, amount: Option<Amount>) -> Result<(Charge, bool), Failure> {
        let payment_request_id = self.keys.unguessable::<16>()?;
        let paid_at = OffsetDateTime::now_utc();
        let mut late = false;
        let charge = self
            .change(|book| {
                let charge = book.charge_by_number(number)?;
                let amount = amount.unwrap_or(charge.terms.amount);
                let payment = Payment { payment_request_id, amount, paid_at, notified: false };
                // A refused payment does not use the fault up.
                let paid = book.pay(number, payment, self.faults.is_armed(Fault::Late))?;
                late = self.faults.strike(Fault::Late, None).is_some();
                Ok((charge.terms.trx_id.clone(), Some(paid)))
            })
            .await?;
        if late {
            lock(&self.held).push(charge.terms.trx_id.clone());
        } else {
            self.notify(&charge);
        }
        Ok((charge, late))
    }

    /// Sends what `late` held back; returns how many payments that were.
    pub(crate) fn release(self: &Arc<Self>) -> usize {
        let held = std::mem::take(&mut *lock(&self.held));
        let charges: Vec<Charge> = {
            let book = lock(&self.book);
            held.iter().filter_map(|trx_id| book.charge(trx_id).cloned()).collect()
        };
        charges.iter().for_each(|charge| self.notify(charge));
        charges.len()
    }

    /// Sends the notifications that a bank which stopped before still owes.
    pub(crate) fn notify_unconfirmed(self: &Arc<Self>) {
        for (charge, _) in self.charges() {
            if self.owes_notification(&charge) {
                self.notify(&charge);
            }
        }
    }

    /// Ends all deliveries; they hold the bank, and with it the journal.
    pub(crate) async fn stop(&self) {
        self.notifier.stop().await;
    }

    fn owes_notification(&self, charge: &Charge) -> bool {
        let now = OffsetDateTime::now_utc();
        charge.standing(now) == Standing::Paid
            && lock(&self.book).confirm(&charge.terms.trx_id).is_ok_and(|event| event.is_some())
    }

    fn notify(self: &Arc<Self>, charge: &Charge) {
        let Some(body) = Notifier::body(charge) else { return };
        let copies = self.faults.strike_all(Fault::Duplicate).max(1);
        for _ in 0..copies {
            let (bank, body, trx_id) = (Arc::clone(self), body.clone(), charge.terms.trx_id.clone());
            self.notifier.spawn(async move {
                let attempted = |accepted: bool| {
                    let mut deliveries = lock(&bank.deliveries);
                    let fate = deliveries.entry(trx_id.clone()).or_default();
                    fate.attempts += 1;
                    fate.accepted += u32::from(accepted);
                };
                if bank.notifier.deliver(body, attempted).await {
                    let confirmed = bank.change(|book| Ok((trx_id.clone(), book.confirm(&trx_id)?))).await;
                    if let Err(error) = confirmed {
                        // It stays unconfirmed and is sent again after a restart.
                        eprintln!("bank: a confirmed notification was not noted: {error}");
                    }
                }
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere left the value whole: every critical section here is a few infallible lines.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
