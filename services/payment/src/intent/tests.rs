//! Every state with every command, as a grid; and long random lives against a model that knows only facts.

use super::*;

/// Rows are standings (see [`standing`]), columns are [`COMMANDS`]. A cell is where the command leads: `=` changes
/// nothing, `+` only books money as unapplied, `!` refuses.
const ROWS: [(&str, [&str; 12]); 15] = [
    //     confirm lapsed other opened closed refused paid odd capture requested expired failed
    ("M", ["P", "!lapsed", "P", "=", "=", "=", "H", "+", "!unpaid", "X", "E", "X"]),
    ("P", ["=", "=", "!other", "A", "F", "F", "H", "+", "!unpaid", "Cr", "Ce", "Cf"]),
    ("A", ["=", "=", "!other", "=", "=", "=", "H", "+", "!unpaid", "Cr", "Ce", "Cf"]),
    ("Cr", ["!ended", "!ended", "!ended", "=", "X", "X", "H", "+", "!unpaid", "=", "=", "Cf"]),
    ("Ce", ["!ended", "!ended", "!ended", "=", "E", "E", "H", "+", "!unpaid", "=", "=", "Cf"]),
    ("Cf", ["!ended", "!ended", "!ended", "=", "X", "X", "Xl", "+", "!unpaid", "=", "=", "="]),
    ("H", ["=", "=", "!other", "=", "=", "=", "+", "+", "S", "!paid", "!paid", "Xg"]),
    ("S", ["=", "=", "!other", "=", "=", "=", "+", "+", "=", "!taken", "!taken", "!taken"]),
    ("X", ["!ended", "!ended", "!ended", "=", "=", "=", "Xl", "+", "!ended", "=", "=", "="]),
    ("Xl", ["!ended", "!ended", "!ended", "=", "=", "=", "+", "+", "S", "=", "=", "="]),
    ("Xg", ["!ended", "!ended", "!ended", "=", "=", "=", "+", "+", "!ended", "=", "=", "="]),
    ("F", ["!failed", "!failed", "!failed", "=", "=", "=", "Fl", "+", "!failed", "=", "=", "="]),
    ("Fl", ["!failed", "!failed", "!failed", "=", "=", "=", "+", "+", "S", "=", "=", "="]),
    ("E", ["!lapsed", "!lapsed", "!lapsed", "=", "=", "=", "El", "+", "!lapsed", "=", "=", "="]),
    ("El", ["!lapsed", "!lapsed", "!lapsed", "=", "=", "=", "+", "+", "S", "=", "=", "="]),
];

const COMMANDS: [Command; 12] = [
    Command::Confirm { lapsed: false, other_method: false },
    Command::Confirm { lapsed: true, other_method: false },
    Command::Confirm { lapsed: false, other_method: true },
    Command::ChargeOpened,
    Command::ChargeClosed,
    Command::ChargeRefused,
    Command::Paid { exact: true },
    Command::Paid { exact: false },
    Command::Capture,
    Command::Cancel(CancelReason::Requested),
    Command::Cancel(CancelReason::Expired),
    Command::Cancel(CancelReason::OrderFailed),
];

/// Method wanted, Processing, Action wanted, Closing (requested, expired, failed), Holding the money, Succeeded,
/// cancelled (X), Failed, Expired; the last three with late money or money that was given up.
fn standing(word: &str) -> Standing {
    let (state, funds) = match word {
        "M" => (State::RequiresPaymentMethod, Funds::None),
        "P" => (State::Processing, Funds::None),
        "A" => (State::RequiresAction, Funds::None),
        "Cr" => (State::Closing(CancelReason::Requested), Funds::None),
        "Ce" => (State::Closing(CancelReason::Expired), Funds::None),
        "Cf" => (State::Closing(CancelReason::OrderFailed), Funds::None),
        "H" => (State::RequiresCapture, Funds::Held),
        "S" => (State::Succeeded, Funds::Captured),
        "X" => (State::Canceled, Funds::None),
        "Xl" => (State::Canceled, Funds::Late),
        "Xg" => (State::Canceled, Funds::GivenUp),
        "F" => (State::Failed, Funds::None),
        "Fl" => (State::Failed, Funds::Late),
        "E" => (State::Expired, Funds::None),
        "El" => (State::Expired, Funds::Late),
        other => panic!("no standing {other}"),
    };
    Standing { state, funds }
}

fn refusal(word: &str) -> Refusal {
    match word {
        "!unpaid" => Refusal::NotAuthorized,
        "!paid" => Refusal::AlreadyAuthorized,
        "!taken" => Refusal::AlreadyCaptured,
        "!ended" => Refusal::Canceled,
        "!lapsed" => Refusal::Lapsed,
        "!failed" => Refusal::Failed,
        "!other" => Refusal::OtherMethod,
        other => panic!("no refusal {other}"),
    }
}

/// What goes with a move from one standing to another.
fn effects(from: &str, to: &str) -> (&'static [Booking], &'static [Event]) {
    match (from, to) {
        (_, "H") => (&[Booking::Hold], &[Event::Authorized]),
        ("H", "S") => (&[Booking::Post], &[Event::Captured]),
        (_, "S") => (&[Booking::Apply], &[Event::Captured]),
        ("Cf", "Xl") => (&[Booking::Late], &[Event::Canceled, Event::PaidLate]),
        (_, "Xl" | "Fl" | "El") => (&[Booking::Late], &[Event::PaidLate]),
        (_, "Xg") => (&[Booking::Void, Booking::Return], &[Event::Canceled]),
        (_, "X" | "E") => (&[], &[Event::Canceled]),
        (_, "F") => (&[], &[Event::Failed]),
        _ => (&[], &[]),
    }
}

#[test]
fn every_state_meets_every_command_as_the_grid_says() {
    for (from, cells) in ROWS {
        let at = standing(from);
        for (command, cell) in COMMANDS.into_iter().zip(cells) {
            let expected = match cell {
                "=" => Ok(Outcome::Unchanged),
                "+" => Ok(Outcome::Changed(Change { to: at, bookings: &[Booking::Stray], events: &[] })),
                word if word.starts_with('!') => Err(refusal(word)),
                to => {
                    let (bookings, events) = effects(from, to);
                    Ok(Outcome::Changed(Change { to: standing(to), bookings, events }))
                }
            };
            assert_eq!(decide(at, command), expected, "{from} {command:?}");
        }
    }
}

#[test]
fn a_repeated_command_changes_nothing_more() {
    for (from, _) in ROWS {
        for command in COMMANDS {
            // Money is told apart by its notification before it comes here: twice is twice.
            if matches!(command, Command::Paid { .. }) {
                continue;
            }
            if let Ok(Outcome::Changed(change)) = decide(standing(from), command) {
                let again = decide(change.to, command);
                let harmless = matches!(again, Ok(Outcome::Unchanged) | Err(_));
                assert!(harmless, "{from} {command:?} twice: {again:?}");
            }
        }
    }
}

/// What happened, in no order: from this alone a payment's standing follows.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    asked: bool,
    opened: bool,
    /// The wish to give up, which the strongest reason colours.
    give_up: Option<CancelReason>,
    /// It ended without its money: how.
    ended: Option<State>,
    /// The money came: after the end?
    paid: Option<bool>,
    captured: bool,
    given_up: bool,
}

impl Facts {
    /// The standing that the facts amount to.
    fn standing(self) -> Standing {
        let open = match (self.give_up, self.asked, self.opened) {
            (Some(reason), _, _) => State::Closing(reason),
            (None, false, _) => State::RequiresPaymentMethod,
            (None, true, false) => State::Processing,
            (None, true, true) => State::RequiresAction,
        };
        let (state, funds) = match (self.ended, self.paid) {
            _ if self.captured => (State::Succeeded, Funds::Captured),
            _ if self.given_up => (State::Canceled, Funds::GivenUp),
            (Some(end), Some(_)) => (end, Funds::Late),
            (Some(end), None) => (end, Funds::None),
            (None, Some(_)) => (State::RequiresCapture, Funds::Held),
            (None, None) => (open, Funds::None),
        };
        Standing { state, funds }
    }

    /// Notes `command`; what no fact allows is not noted.
    fn note(&mut self, command: Command) {
        let alive = self.ended.is_none() && self.paid.is_none();
        match command {
            Command::Confirm { lapsed, .. } => self.asked |= alive && self.give_up.is_none() && !lapsed,
            Command::ChargeOpened => self.opened |= alive && self.asked && self.give_up.is_none(),
            Command::ChargeClosed | Command::ChargeRefused if alive => match self.give_up {
                Some(CancelReason::Expired) => self.ended = Some(State::Expired),
                Some(_) => self.ended = Some(State::Canceled),
                None if self.asked && !self.opened => self.ended = Some(State::Failed),
                None => {}
            },
            Command::Paid { exact: true } if self.paid.is_none() => {
                let useless = alive && self.give_up == Some(CancelReason::OrderFailed);
                if useless {
                    self.ended = Some(State::Canceled);
                }
                self.paid = Some(self.ended.is_some());
            }
            Command::Capture => self.captured |= self.paid.is_some() && !self.given_up,
            Command::Cancel(reason) if alive => {
                if !self.asked {
                    self.ended = Some(if reason == CancelReason::Expired { State::Expired } else { State::Canceled });
                } else if self.give_up.is_none() || reason == CancelReason::OrderFailed {
                    self.give_up = Some(reason);
                }
            }
            Command::Cancel(CancelReason::OrderFailed) => {
                self.given_up |= self.paid == Some(false) && !self.captured;
            }
            _ => {}
        }
    }
}

#[test]
fn long_random_lives_stand_where_their_facts_say() {
    let mut random = crate::ledger::model::Random::new(2_024);
    for life in 0..20_000 {
        let (mut at, mut facts) = (Standing::OPENED, Facts::default());
        let mut history = Vec::new();
        for _ in 0..12 {
            let command = random.pick(&COMMANDS);
            // Another method is refused before anything: it is no fact.
            if matches!(command, Command::Confirm { other_method: true, .. }) {
                continue;
            }
            history.push(command);
            if let Ok(Outcome::Changed(change)) = decide(at, command) {
                at = change.to;
            }
            facts.note(command);
            assert_eq!(at, facts.standing(), "life {life}: {history:?}");
        }
    }
}
