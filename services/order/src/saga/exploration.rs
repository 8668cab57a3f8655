//! Every walk through the table, against models of the peers that keep their promises: answers are lost, requests
//! arrive late, holds lapse, others buy the stock, money comes at any moment. Each order ends, and ends either paid
//! for goods that are sold or with nothing held and nothing charged.

use std::collections::{HashMap, VecDeque};

use super::machine::{Event, Reason, State, Step, Verdict};
use sekat_api_payment::v1::CancelReason;

/// The most reservations of one order in the model, and how many of them may lapse.
const HOLDS: usize = 4;
const LAPSES: u8 = 2;

/// A payment as the `payment` service keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Payment {
    Unknown,
    Open,
    /// A charge is open at the provider.
    Charged,
    /// The provider is asked to close the charge.
    Closing(CancelReason),
    Authorized,
    Captured,
    /// Given up, refused by the provider, or never to be opened.
    Over,
    /// Money came after the end.
    OverPaidLate,
    /// The order gave up the money that had come.
    OverGivenUp,
}

/// A reservation as `catalog` keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Hold {
    Unknown,
    Held,
    Sold,
    Released,
    Lapsed,
}

/// An order and everything around it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    state: State,
    hold: usize,
    holds: [Hold; HOLDS],
    lapses: u8,
    in_stock: bool,
    payment: Payment,
    news: Vec<Event>,
    /// A request of which the network has kept a copy.
    late: Option<(Step, usize)>,
    due: bool,
}

type Table = fn(State, Event) -> Verdict;

impl World {
    fn start() -> Self {
        Self {
            state: State::CheckBuyer,
            hold: 0,
            holds: [Hold::Unknown; HOLDS],
            lapses: 0,
            in_stock: true,
            payment: Payment::Unknown,
            news: Vec::new(),
            late: None,
            due: false,
        }
    }

    /// What the peer does with a request, and answers; `None` if the outcome is not known yet.
    fn serve(&mut self, step: Step, hold: usize) -> Option<Event> {
        match step {
            Step::CheckBuyer => Some(Event::Done),
            Step::Hold => Some(self.create_reservation(hold)),
            Step::Sell => Some(match self.holds[hold] {
                Hold::Held | Hold::Sold => {
                    self.holds[hold] = Hold::Sold;
                    Event::Done
                }
                Hold::Unknown | Hold::Released | Hold::Lapsed => Event::Lapsed,
            }),
            Step::Release => Some(self.release_reservation(hold)),
            Step::OpenPayment => Some(match self.payment {
                Payment::Unknown => {
                    self.payment = Payment::Open;
                    Event::Done
                }
                Payment::Over => Event::Refused(Reason::PaymentRefused),
                _ => Event::Done,
            }),
            Step::Capture => Some(match self.payment {
                Payment::Authorized | Payment::OverPaidLate | Payment::Captured => {
                    self.payment = Payment::Captured;
                    Event::Done
                }
                _ => Event::Refused(Reason::PaymentNotCaptured),
            }),
            Step::ClosePayment(reason) => self.close_payment(reason),
        }
    }

    fn create_reservation(&mut self, hold: usize) -> Event {
        match self.holds[hold] {
            Hold::Unknown if self.in_stock => {
                self.holds[hold] = Hold::Held;
                self.in_stock = false;
                Event::Done
            }
            Hold::Unknown | Hold::Released => Event::Refused(Reason::OutOfStock),
            // The stored reply of the first time, even if the hold has lapsed since.
            Hold::Held | Hold::Sold | Hold::Lapsed => Event::Done,
        }
    }

    fn release_reservation(&mut self, hold: usize) -> Event {
        match self.holds[hold] {
            Hold::Sold => return Event::Refused(Reason::OutOfStock),
            Hold::Held => self.in_stock = true,
            Hold::Unknown | Hold::Released | Hold::Lapsed => {}
        }
        self.holds[hold] = Hold::Released;
        Event::Done
    }

    fn close_payment(&mut self, reason: CancelReason) -> Option<Event> {
        match (self.payment, reason) {
            (Payment::Unknown, _) => {
                self.payment = Payment::Over;
                Some(Event::Done)
            }
            (Payment::Open, _) => {
                self.payment = Payment::Over;
                self.news.push(Event::Ended);
                Some(Event::Done)
            }
            (Payment::Charged, _) | (Payment::Closing(_), CancelReason::OrderFailed) => {
                self.payment = Payment::Closing(reason);
                None
            }
            (Payment::Closing(_), _) => None,
            (Payment::Authorized, CancelReason::OrderFailed) => {
                self.payment = Payment::OverGivenUp;
                self.news.push(Event::Ended);
                Some(Event::Done)
            }
            (Payment::Authorized, _) => Some(Event::AlreadyAuthorized),
            (Payment::Over | Payment::OverPaidLate | Payment::OverGivenUp, _) => Some(Event::Done),
            // A late copy may be refused so; the table has no cell for it.
            (Payment::Captured, _) => Some(Event::Refused(Reason::PaymentFailed)),
        }
    }

    /// The money comes.
    fn paid(&mut self) -> bool {
        let (payment, news): (_, &[Event]) = match self.payment {
            Payment::Open | Payment::Charged | Payment::Closing(CancelReason::Requested | CancelReason::Expired) => {
                (Payment::Authorized, &[Event::Authorized])
            }
            Payment::Closing(_) => (Payment::OverPaidLate, &[Event::Ended, Event::PaidLate]),
            Payment::Over => (Payment::OverPaidLate, &[Event::PaidLate]),
            _ => return false,
        };
        self.payment = payment;
        self.news.extend_from_slice(news);
        true
    }

    fn take(&mut self, table: Table, event: Event) -> Result<(), String> {
        match table(self.state, event) {
            Verdict::Go(to, _) => {
                self.hold += usize::from(to.holds_anew() && to != self.state);
                self.state = to;
                Ok(())
            }
            Verdict::Stay | Verdict::Refuse => Ok(()),
            Verdict::Broken => Err(format!("no cell for {event:?}: {self:?}")),
        }
    }

    /// Everything that can happen next.
    fn next(&self, table: Table) -> Result<Vec<Self>, String> {
        let mut worlds = Vec::new();
        let mut branch = |change: &mut dyn FnMut(&mut Self) -> Result<bool, String>| -> Result<(), String> {
            let mut world = self.clone();
            if change(&mut world)? {
                worlds.push(world);
            }
            Ok(())
        };
        if let Some(step) = self.state.step() {
            for answered in [true, false] {
                branch(&mut |world| {
                    let answer = world.serve(step, world.hold);
                    answer.filter(|_| answered).map_or(Ok(()), |event| world.take(table, event))?;
                    Ok(true)
                })?;
            }
            branch(&mut |world| Ok(world.late.replace((step, world.hold)).is_none()))?;
        }
        if self.state == State::CheckBuyer {
            branch(&mut |world| world.take(table, Event::Refused(Reason::AccountBlocked)).map(|()| true))?;
        }
        branch(&mut |world| {
            let Some((step, hold)) = world.late.take() else { return Ok(false) };
            world.serve(step, hold);
            Ok(true)
        })?;
        branch(&mut |world| {
            let event = if world.news.is_empty() { return Ok(false) } else { world.news.remove(0) };
            world.take(table, event).map(|()| true)
        })?;
        branch(&mut |world| world.take(table, Event::Cancel).map(|()| true))?;
        branch(&mut |world| {
            world.due = true;
            world.take(table, Event::Due).map(|()| true)
        })?;
        for hold in 0..HOLDS {
            branch(&mut |world| {
                let lapses = world.holds[hold] == Hold::Held && world.lapses < LAPSES;
                if lapses {
                    (world.holds[hold], world.in_stock) = (Hold::Lapsed, true);
                    world.lapses += 1;
                }
                Ok(lapses)
            })?;
        }
        // Others buy the last piece, or the seller brings more.
        branch(&mut |world| {
            world.in_stock = !world.in_stock;
            Ok(true)
        })?;
        branch(&mut |world| Ok(world.paid()))?;
        branch(&mut |world| Ok(world.provider_answers(Payment::Open, Payment::Charged, None)))?;
        branch(&mut |world| Ok(world.provider_answers(Payment::Charged, Payment::Over, Some(Event::Declined))))?;
        for reason in [CancelReason::Requested, CancelReason::Expired, CancelReason::OrderFailed] {
            let closing = Payment::Closing(reason);
            branch(&mut |world| Ok(world.provider_answers(closing, Payment::Over, Some(Event::Ended))))?;
        }
        Ok(worlds)
    }

    fn provider_answers(&mut self, from: Payment, to: Payment, news: Option<Event>) -> bool {
        let applies = self.payment == from;
        if applies {
            self.payment = to;
            self.news.extend(news);
        }
        applies
    }

    /// What must be true of an order that has ended, also while a late copy of a request is still under way.
    fn check(&self) -> Result<(), String> {
        let count = |kind: Hold| self.holds.iter().filter(|hold| **hold == kind).count();
        let (held, sold) = (count(Hold::Held), count(Hold::Sold));
        let sound = match self.state {
            State::Paid => held == 0 && sold == 1 && self.payment == Payment::Captured,
            state if state.has_ended() => {
                let charged = matches!(
                    self.payment,
                    Payment::Open | Payment::Charged | Payment::Closing(_) | Payment::Authorized | Payment::Captured
                );
                held == 0 && sold == 0 && !charged
            }
            _ => true,
        };
        if sound { Ok(()) } else { Err(format!("an order ended unsound: {self:?}")) }
    }
}

/// Walks everywhere; says how many worlds there are.
fn explore(table: Table) -> Result<usize, String> {
    let mut known = HashMap::from([(World::start(), 0_usize)]);
    let mut came_from: Vec<Vec<usize>> = vec![Vec::new()];
    let mut ended = Vec::new();
    let mut queue = VecDeque::from([World::start()]);
    while let Some(world) = queue.pop_front() {
        world.check()?;
        let at = known[&world];
        if world.state.has_ended() && world.news.is_empty() && world.late.is_none() {
            ended.push(at);
        }
        for next in world.next(table)? {
            let to = *known.entry(next.clone()).or_insert_with(|| {
                came_from.push(Vec::new());
                queue.push_back(next);
                came_from.len() - 1
            });
            came_from[to].push(at);
        }
    }
    let mut can_end = vec![false; came_from.len()];
    while let Some(world) = ended.pop() {
        if !std::mem::replace(&mut can_end[world], true) {
            ended.extend_from_slice(&came_from[world]);
        }
    }
    let stuck = can_end.iter().filter(|can_end| !**can_end).count();
    if stuck == 0 { Ok(can_end.len()) } else { Err(format!("{stuck} worlds never end")) }
}

#[test]
fn every_order_ends_paid_or_with_everything_released() {
    let worlds = explore(State::on).unwrap();
    assert!(worlds > 5_000, "only {worlds} worlds: the model has lost its freedom");
}

#[test]
fn planted_faults_of_the_table_are_found() {
    let planted: [(&str, &str, Table); 7] = [
        ("expiry ignores that the money has come", "unsound", |state, event| match (state, event) {
            (State::ExpirePayment, Event::AlreadyAuthorized) => Verdict::Go(State::ExpireStock, None),
            _ => state.on(event),
        }),
        ("a refused hold leaves no tombstone", "unsound", |state, event| match (state, event) {
            (State::HoldStock, Event::Refused(reason)) => Verdict::Go(State::Failed, Some(reason)),
            _ => state.on(event),
        }),
        ("cancelling a checkout forgets the payment", "unsound", |state, event| match (state, event) {
            (State::OpenPayment, Event::Cancel) => Verdict::Go(State::CancelStock, None),
            _ => state.on(event),
        }),
        ("an order counts as paid before the money is taken", "unsound", |state, event| match (state, event) {
            (State::SellStock, Event::Done) => Verdict::Go(State::Paid, None),
            _ => state.on(event),
        }),
        ("late money meets stock that is not held", "unsound", |state, event| match (state, event) {
            (State::ExpireStock, Event::PaidLate) => Verdict::Go(State::CaptureLate, None),
            (State::SellLate, Event::Lapsed) => Verdict::Go(State::Paid, None),
            _ => state.on(event),
        }),
        ("an answer has no cell", "no cell", |state, event| match (state, event) {
            (State::SellStock, Event::Lapsed) => Verdict::Broken,
            _ => state.on(event),
        }),
        ("an order waits for money for ever", "never end", |state, event| match (state, event) {
            (State::ReleaseLate, Event::Done) => Verdict::Stay,
            _ => state.on(event),
        }),
    ];
    for (fault, expected, table) in planted {
        let found = explore(table).expect_err(fault);
        assert!(found.contains(expected), "{fault}: {found}");
    }
}
