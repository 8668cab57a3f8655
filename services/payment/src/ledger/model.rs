//! The ledger's rules against a model that shares nothing with them: it keeps the transfers and knows no balances.

use std::collections::{BTreeMap, BTreeSet};

use sekat_money::{Currency, Money};

use super::{Account, AccountKind, Action, Booked, Context, Refusal, Settlement, Transfer, decide};

/// Small, fast and the same on each run (Steele, Lea and Flood 2014, `SplitMix64`).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// The accounts of a test: the chart, and dollar accounts, whose amounts may be odd and huge.
pub(crate) const ACCOUNTS: [(&str, AccountKind, Currency); 7] = [
    ("provider-receivable-bca", AccountKind::ProviderReceivable, Currency::Idr),
    ("order-funds", AccountKind::OrderFunds, Currency::Idr),
    ("unapplied-funds", AccountKind::UnappliedFunds, Currency::Idr),
    ("receivable-usd", AccountKind::ProviderReceivable, Currency::Usd),
    ("funds-usd", AccountKind::OrderFunds, Currency::Usd),
    ("unapplied-usd", AccountKind::UnappliedFunds, Currency::Usd),
    ("another-receivable-usd", AccountKind::ProviderReceivable, Currency::Usd),
];

/// A random transfer among few ids, accounts and amounts, so that repetitions, conflicts and settlements abound.
/// `prefix` keeps the ids of one world apart from those of another.
pub(crate) fn random_transfer(random: &mut Random, prefix: &str) -> Transfer {
    let id = |random: &mut Random| format!("{prefix}t{}", random.below(16));
    // Mostly along the usual ways; now and then anywhere, even to an account that is not there.
    let usual = [(0, 1), (0, 2), (2, 1), (3, 4), (3, 5), (5, 4), (1, 0), (6, 3)];
    let names: Vec<&str> = ACCOUNTS.iter().map(|(id, ..)| *id).chain(["nowhere"]).collect();
    let (debit, credit) = match random.below(8) {
        0 => (random.pick(&names), random.pick(&names)),
        _ => {
            let (debit, credit) = random.pick(&usual);
            (names[debit], names[credit])
        }
    };
    let rupiah = [1, 1, 2, 3, 25_000];
    let cents = [1, 2, 5, i64::MAX, i64::MAX / 2 + 1];
    let amount = match (random.below(40), debit.ends_with("usd") || credit.ends_with("usd")) {
        (0, _) => Money::from_units(Currency::Idr, random.pick(&[0, -1])).unwrap(),
        (1, _) => Money::from_minor(Currency::Usd, 7).unwrap(),
        (_, false) => Money::from_units(Currency::Idr, random.pick(&rupiah)).unwrap(),
        (_, true) => Money::from_minor(Currency::Usd, random.pick(&cents)).unwrap(),
    };
    let action = match random.below(6) {
        0 => Action::Direct,
        1 | 2 => Action::Pending,
        3 | 4 => Action::Post(id(random)),
        _ => Action::Void(id(random)),
    };
    let payment_intent = random.pick(&["p1", "p1", "p1", "p2"]).to_owned();
    let (debit, credit) = (debit.to_owned(), credit.to_owned());
    Transfer { id: id(random), action, debit, credit, amount, payment_intent }
}

/// Now and then a transfer that settles a pending one as it should be, or repeats one exactly: chance alone seldom
/// gets there.
pub(crate) fn random_operation(random: &mut Random, prefix: &str, booked: &[Transfer]) -> Transfer {
    let mut transfer = random_transfer(random, prefix);
    if booked.is_empty() || random.below(2) == 0 {
        return transfer;
    }
    let before = booked[random.below(booked.len())].clone();
    match random.below(8) {
        0 => before,
        // The same in all but one field, or in none.
        1 => Transfer { amount: transfer.amount, ..before },
        2 => Transfer { payment_intent: transfer.payment_intent, ..before },
        3 => Transfer { debit: transfer.debit, ..before },
        4 => Transfer { credit: transfer.credit, ..before },
        5 => Transfer { action: transfer.action, ..before },
        post_or_void => {
            let pending = before.id;
            transfer.action = if post_or_void == 6 { Action::Post(pending) } else { Action::Void(pending) };
            (transfer.debit, transfer.credit) = (before.debit, before.credit);
            transfer.payment_intent = before.payment_intent;
            // Once in four another amount, smaller or larger.
            if random.below(4) > 0 {
                transfer.amount = before.amount;
            }
            transfer
        }
    }
}

/// The model: what was booked, in order.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) transfers: Vec<Transfer>,
    /// What the accounts held before, by transfers that nobody settles or repeats any more.
    carried: BTreeMap<&'static str, Sums>,
}

/// The four sums of an account, wide enough for any number of transfers.
type Sums = [i128; 4];

impl Model {
    /// A model that begins with the sums of this one and forgets its transfers: adding all of a million up again for
    /// each operation would take years.
    pub(crate) fn carried_forward(&self) -> Self {
        Self { transfers: Vec::new(), carried: ACCOUNTS.map(|(id, ..)| (id, self.sums(id))).into() }
    }

    fn find(&self, id: &str) -> Option<&Transfer> {
        self.transfers.iter().find(|transfer| transfer.id == id)
    }

    /// Posted debits, posted credits, pending debits, pending credits, added up from the beginning.
    pub(crate) fn sums(&self, account: &str) -> Sums {
        let mut sums = self.carried.get(account).copied().unwrap_or_default();
        for transfer in &self.transfers {
            let amount = i128::from(transfer.amount.minor());
            let (posted, pending) = match transfer.action {
                Action::Direct => (amount, 0),
                Action::Pending => (0, amount),
                Action::Post(_) => (amount, -amount),
                Action::Void(_) => (0, -amount),
            };
            if transfer.debit == account {
                sums[0] += posted;
                sums[2] += pending;
            }
            if transfer.credit == account {
                sums[1] += posted;
                sums[3] += pending;
            }
        }
        sums
    }

    /// Books `transfer`, or says the first rule that it breaks. True if it is new.
    pub(crate) fn book(&mut self, transfer: &Transfer) -> Result<bool, Refusal> {
        if let Some(same) = self.find(&transfer.id) {
            let differs = [
                (same.action.word() != transfer.action.word(), Refusal::ExistsWithDifferentAction),
                (same.action.pending() != transfer.action.pending(), Refusal::ExistsWithDifferentPendingTransfer),
                (same.debit != transfer.debit, Refusal::ExistsWithDifferentDebitAccount),
                (same.credit != transfer.credit, Refusal::ExistsWithDifferentCreditAccount),
                (same.amount != transfer.amount, Refusal::ExistsWithDifferentAmount),
                (same.payment_intent != transfer.payment_intent, Refusal::ExistsWithDifferentPaymentIntent),
            ];
            return first(&differs).map_or(Ok(false), Err);
        }
        let account = |id: &str| ACCOUNTS.iter().find(|(name, ..)| *name == id);
        let (debit, credit) = (account(&transfer.debit), account(&transfer.credit));
        let currency = |account: Option<&(&str, AccountKind, Currency)>| account.map(|(.., currency)| *currency);
        let own = Some(transfer.amount.currency());
        let shape = [
            (transfer.amount.minor() <= 0, Refusal::AmountMustBePositive),
            (transfer.debit == transfer.credit, Refusal::AccountsMustBeDifferent),
            (debit.is_none(), Refusal::DebitAccountNotFound),
            (credit.is_none(), Refusal::CreditAccountNotFound),
            (currency(debit) != own || currency(credit) != own, Refusal::CurrencyMismatch),
        ];
        let broken = first(&shape).or_else(|| self.settlement_fault(transfer)).or_else(|| self.balance_fault(transfer));
        broken.map_or(Ok(()), Err)?;
        self.transfers.push(transfer.clone());
        Ok(true)
    }

    fn settlement_fault(&self, transfer: &Transfer) -> Option<Refusal> {
        let id = transfer.action.pending()?;
        let Some(pending) = self.find(id) else { return Some(Refusal::PendingTransferNotFound) };
        let settled = self.transfers.iter().find(|other| other.action.pending() == Some(id));
        let settled = settled.map(|other| other.action.word());
        first(&[
            (pending.action != Action::Pending, Refusal::PendingTransferNotPending),
            (pending.debit != transfer.debit, Refusal::PendingTransferHasDifferentDebitAccount),
            (pending.credit != transfer.credit, Refusal::PendingTransferHasDifferentCreditAccount),
            (pending.payment_intent != transfer.payment_intent, Refusal::PendingTransferHasDifferentPaymentIntent),
            (transfer.amount.minor() > pending.amount.minor(), Refusal::ExceedsPendingTransferAmount),
            (transfer.amount.minor() != pending.amount.minor(), Refusal::PendingTransferHasDifferentAmount),
            (settled == Some("POST"), Refusal::PendingTransferAlreadyPosted),
            (settled == Some("VOID"), Refusal::PendingTransferAlreadyVoided),
        ])
    }

    fn balance_fault(&self, transfer: &Transfer) -> Option<Refusal> {
        let transfers = self.transfers.iter().chain([transfer]).cloned().collect();
        let with = Self { transfers, carried: self.carried.clone() };
        let (debit, credit) = (with.sums(&transfer.debit), with.sums(&transfer.credit));
        let most = i128::from(i64::MAX);
        let opens = transfer.action.pending().is_none();
        let owes = |account: &str| {
            ACCOUNTS.iter().any(|(id, kind, _)| *id == account && *kind != AccountKind::ProviderReceivable)
        };
        first(&[
            (debit[0] > most || debit[0] + debit[2] > most, Refusal::Overflows),
            (credit[1] > most || credit[1] + credit[3] > most, Refusal::Overflows),
            (opens && owes(&transfer.debit) && debit[0] + debit[2] > debit[1], Refusal::ExceedsCredits),
            (opens && !owes(&transfer.credit) && credit[1] + credit[3] > credit[0], Refusal::ExceedsDebits),
        ])
    }
}

fn first(rules: &[(bool, Refusal)]) -> Option<Refusal> {
    rules.iter().find(|(broken, _)| *broken).map(|(_, refusal)| *refusal)
}

/// The ledger under test, in memory: what the SQL around [`decide`] does, with maps.
#[derive(Default)]
struct Ledger {
    accounts: BTreeMap<String, Account>,
    transfers: BTreeMap<String, Transfer>,
    settled: BTreeMap<String, Settlement>,
}

impl Ledger {
    fn new() -> Self {
        let account =
            |(id, kind, currency): (&str, _, _)| (id.to_owned(), Account::empty(id.to_owned(), kind, currency));
        Self { accounts: ACCOUNTS.map(account).into(), ..Self::default() }
    }

    fn book(&mut self, transfer: &Transfer) -> Result<bool, Refusal> {
        let pending = transfer.action.pending();
        let context = Context {
            existing: self.transfers.get(&transfer.id).cloned(),
            debit: self.accounts.get(&transfer.debit).cloned(),
            credit: self.accounts.get(&transfer.credit).cloned(),
            pending: pending.and_then(|id| self.transfers.get(id)).cloned(),
            settlement: pending.and_then(|id| self.settled.get(id)).copied(),
        };
        let Booked::New { debit, credit } = decide(&context, transfer)? else { return Ok(false) };
        for account in [debit, credit] {
            self.accounts.insert(account.id.clone(), account);
        }
        self.transfers.insert(transfer.id.clone(), transfer.clone());
        let settlement = match &transfer.action {
            Action::Post(id) => Some((id, Settlement::Posted)),
            Action::Void(id) => Some((id, Settlement::Voided)),
            Action::Direct | Action::Pending => None,
        };
        self.settled.extend(settlement.map(|(id, settlement)| (id.clone(), settlement)));
        Ok(true)
    }

    /// No sum is negative, no account overdrawn, and per currency debits equal credits.
    fn check(&self) {
        let mut off: BTreeMap<&str, [i128; 2]> = BTreeMap::new();
        for account in self.accounts.values() {
            let sums = sums(account);
            assert!(sums.iter().all(|sum| *sum >= 0), "{} is negative", account.id);
            let [debits, credits, ..] = sums;
            let overdrawn =
                if account.kind == AccountKind::ProviderReceivable { credits > debits } else { debits > credits };
            assert!(!overdrawn, "{} is overdrawn", account.id);
            let off = off.entry(account.currency.code()).or_default();
            off[0] += sums[0] - sums[1];
            off[1] += sums[2] - sums[3];
        }
        assert!(off.values().all(|off| *off == [0, 0]), "debits and credits differ");
    }
}

pub(crate) fn sums(account: &Account) -> Sums {
    [account.debits_posted, account.credits_posted, account.debits_pending, account.credits_pending].map(i128::from)
}

#[test]
fn a_million_operations_agree_with_the_model() {
    const WORLDS: u64 = 25_000;
    const OPERATIONS: usize = 40;
    let (mut booked, mut repeated, mut refused) = (0_u64, 0_u64, BTreeMap::<String, u64>::new());
    for world in 0..WORLDS {
        let mut random = Random::new(world);
        let (mut model, mut ledger) = (Model::default(), Ledger::new());
        for step in 0..OPERATIONS {
            let transfer = random_operation(&mut random, "", &model.transfers);
            let expected = model.book(&transfer);
            assert_eq!(ledger.book(&transfer), expected, "world {world}, step {step}");
            match expected {
                Ok(true) => booked += 1,
                Ok(false) => repeated += 1,
                Err(refusal) => *refused.entry(format!("{refusal:?}")).or_default() += 1,
            }
        }
        ledger.check();
        for (id, account) in &ledger.accounts {
            assert_eq!(sums(account), model.sums(id), "world {world}, {id}");
        }
    }
    // The million says something only if it got everywhere.
    assert!(booked > 100_000 && repeated > 10_000, "{booked} booked, {repeated} repeated");
    let seen: BTreeSet<&str> = refused.keys().map(String::as_str).collect();
    assert_eq!(seen.len(), 23, "{refused:?}");
    assert!(refused.values().all(|count| *count >= 20), "{refused:?}");
}
