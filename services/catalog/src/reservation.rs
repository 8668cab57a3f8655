//! Holds on stock: all lines or none, committed or given back exactly once, lapsing by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use sekat_api_catalog::v1::{
    CommitReservationRequest, CreateReservationRequest, ReleaseReservationRequest, Reservation, ReservationLine,
    ReservationState,
};
use sekat_mesh::Permit;
use sekat_service::{Invalid, Violations, timestamp};
use sekat_store::{RequestKey, Tx, Value, now_ms};

use crate::error::Error;
use crate::feed;
use crate::names::{self, SkuName};
use crate::product;
use crate::quote::{MAX_LINES, MAX_QUANTITY};
use crate::rpc::State;

/// The longest hold: a week of waiting for a payment.
const MAX_TTL_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// How often lapsed holds are looked for; they are given back within twice this.
const LAPSE_INTERVAL: Duration = Duration::from_millis(250);
/// Holds that one transaction gives back.
const LAPSE_BATCH: i64 = 100;

/// Holds all lines or none. The same reservation again is answered with what became of it, if it still holds.
pub(crate) async fn create(
    state: &State,
    permit: &Permit,
    request: CreateReservationRequest,
) -> Result<Reservation, Error> {
    let body = request.encode_to_vec();
    let lines = checked_lines(&request)?;
    let ttl_ms = ttl_ms(&request)?;
    let id = request.reservation_id;
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    let reservation = state.store.write_once(key, move |tx| hold(tx, &id, &lines, ttl_ms)).await?;
    state.feed.announce();
    Ok(reservation)
}

fn checked_lines(request: &CreateReservationRequest) -> Result<Vec<(SkuName, i64)>, Error> {
    let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let id = &request.reservation_id;
    let is_name = (4..=63).contains(&id.len()) && id.bytes().all(is_id);
    let mut violations = Violations::default();
    violations.check(is_name, "reservation_id", "must be 4 to 63 of a-z, 0-9 and '-'");
    violations.check((1..=MAX_LINES).contains(&request.lines.len()), "lines", "must hold 1 to 50 lines");
    for (index, line) in request.lines.iter().enumerate() {
        let in_range = (1..=MAX_QUANTITY).contains(&line.quantity);
        violations.check(in_range, format!("lines[{index}].quantity"), "must be 1 to 999");
    }
    violations.finish()?;
    request.lines.iter().map(|line| Ok((SkuName::parse(&line.sku)?, i64::from(line.quantity)))).collect()
}

fn ttl_ms(request: &CreateReservationRequest) -> Result<i64, Error> {
    let ttl = request.ttl.unwrap_or_default();
    let ms = ttl.seconds.saturating_mul(1000).saturating_add(i64::from(ttl.nanos) / 1_000_000);
    if (1000..=MAX_TTL_MS).contains(&ms) {
        Ok(ms)
    } else {
        Err(Invalid::field("ttl", "must be 1 second to 7 days").into())
    }
}

fn hold(tx: &mut dyn Tx, id: &str, lines: &[(SkuName, i64)], ttl_ms: i64) -> Result<Reservation, Error> {
    if let Some(existing) = load(tx, id)? {
        return match existing.state() {
            ReservationState::Held if same_lines(&existing, lines) => Ok(existing),
            ReservationState::Held => Err(Error::ReservationDiffers),
            ReservationState::Committed => Err(Error::ReservationCommitted),
            _ => Err(Error::ReservationGone),
        };
    }
    // Several lines of one sku count together, and skus are taken in one order, so that no two holds wait for each
    // other on an engine with row locks.
    let mut wanted: BTreeMap<&SkuName, i64> = BTreeMap::new();
    for (sku, quantity) in lines {
        let sum = wanted.entry(sku).or_default();
        *sum = sum.saturating_add(*quantity);
    }
    for (sku, quantity) in wanted {
        let held = tx.optional(
            "UPDATE skus SET reserved = reserved + $3
             WHERE product = $1 AND code = $2 AND deleted = 0 AND on_hand - reserved >= $3
               AND EXISTS (SELECT 1 FROM merchants WHERE merchants.id = skus.merchant AND admitted = 1)
             RETURNING on_hand - reserved",
            &[Value::from(&sku.product), Value::from(&sku.code), quantity.into()],
        )?;
        let left = held.ok_or(Error::OutOfStock)?.int(0)?;
        feed::stock_changed(tx, &sku.product, left.saturating_add(quantity), left)?;
    }
    let expire_ms = now_ms().saturating_add(ttl_ms);
    insert(tx, id, ReservationState::Held, expire_ms)?;
    for (index, (sku, quantity)) in (0_i64..).zip(lines) {
        tx.exec(
            "INSERT INTO reservation_lines (reservation, line, product, code, quantity) VALUES ($1, $2, $3, $4, $5)",
            &[Value::from(id), index.into(), Value::from(&sku.product), Value::from(&sku.code), (*quantity).into()],
        )?;
    }
    let lines = lines.iter().map(|(sku, quantity)| line(sku, *quantity)).collect::<Result<_, _>>()?;
    Ok(reservation(id, ReservationState::Held, lines, expire_ms))
}

fn insert(tx: &mut dyn Tx, id: &str, state: ReservationState, expire_ms: i64) -> Result<(), Error> {
    tx.exec(
        "INSERT INTO reservations (id, state, expire_ms) VALUES ($1, $2, $3)",
        &[Value::from(id), i64::from(i32::from(state)).into(), expire_ms.into()],
    )?;
    Ok(())
}

fn same_lines(existing: &Reservation, lines: &[(SkuName, i64)]) -> bool {
    existing.lines.len() == lines.len()
        && existing
            .lines
            .iter()
            .zip(lines)
            .all(|(held, (sku, quantity))| held.sku == sku.to_string() && i64::from(held.quantity) == *quantity)
}

/// Turns a hold into a sale. A committed one stays committed.
pub(crate) async fn commit(
    state: &State,
    permit: &Permit,
    request: CommitReservationRequest,
) -> Result<Reservation, Error> {
    let body = request.encode_to_vec();
    end(state, permit, &request.name, &request.request_id, &body, |tx, id| {
        let existing = load(tx, id)?.ok_or(Error::NotFound("reservation"))?;
        match existing.state() {
            ReservationState::Held => finish(tx, id, existing, ReservationState::Committed),
            ReservationState::Committed => Ok(existing),
            _ => Err(Error::ReservationGone),
        }
    })
    .await
}

/// Gives a hold back. An unknown name gets a tombstone, so that a hold that was asked for earlier and arrives later
/// is refused.
pub(crate) async fn release(
    state: &State,
    permit: &Permit,
    request: ReleaseReservationRequest,
) -> Result<Reservation, Error> {
    let body = request.encode_to_vec();
    end(state, permit, &request.name, &request.request_id, &body, |tx, id| {
        let Some(existing) = load(tx, id)? else {
            let now = now_ms();
            insert(tx, id, ReservationState::Released, now)?;
            return Ok(reservation(id, ReservationState::Released, Vec::new(), now));
        };
        match existing.state() {
            ReservationState::Held => finish(tx, id, existing, ReservationState::Released),
            ReservationState::Committed => Err(Error::ReservationCommitted),
            _ => Ok(existing),
        }
    })
    .await
}

/// Carries one of the two ends of a reservation out once.
async fn end(
    state: &State,
    permit: &Permit,
    name: &str,
    request_id: &str,
    body: &[u8],
    end: fn(&mut dyn Tx, &str) -> Result<Reservation, Error>,
) -> Result<Reservation, Error> {
    let id = names::id(name, "reservations", "reservation")?.to_owned();
    let key = RequestKey { access: permit.access(), request_id, body };
    let reservation = state.store.write_once(key, move |tx| end(tx, &id)).await?;
    state.feed.announce();
    Ok(reservation)
}

fn finish(tx: &mut dyn Tx, id: &str, held: Reservation, to: ReservationState) -> Result<Reservation, Error> {
    for line in &held.lines {
        let sku = SkuName::parse(&line.sku)?;
        let quantity = i64::from(line.quantity);
        let sold = if to == ReservationState::Committed { quantity } else { 0 };
        let row = tx.one(
            "UPDATE skus SET reserved = reserved - $3, on_hand = on_hand - $4 WHERE product = $1 AND code = $2
             RETURNING on_hand - reserved",
            &[Value::from(&sku.product), Value::from(&sku.code), quantity.into(), sold.into()],
        )?;
        let left = row.int(0)?;
        feed::stock_changed(tx, &sku.product, left.saturating_sub(quantity.saturating_sub(sold)), left)?;
        if sold > 0 {
            // A seller who sets the stock from what they read before the sale must learn of it.
            product::bump_version(tx, &sku.product)?;
        }
    }
    tx.exec("UPDATE reservations SET state = $2 WHERE id = $1", &[Value::from(id), i64::from(i32::from(to)).into()])?;
    Ok(Reservation { state: to.into(), ..held })
}

fn load(tx: &mut dyn Tx, id: &str) -> Result<Option<Reservation>, Error> {
    let Some(row) = tx.optional("SELECT state, expire_ms FROM reservations WHERE id = $1", &[Value::from(id)])? else {
        return Ok(None);
    };
    let lines = tx.rows(
        "SELECT product, code, quantity FROM reservation_lines WHERE reservation = $1 ORDER BY line LIMIT 50",
        &[Value::from(id)],
    )?;
    let lines = lines.iter().map(|row| {
        let sku = SkuName { product: row.text(0)?.to_owned(), code: row.text(1)?.to_owned() };
        line(&sku, row.int(2)?)
    });
    let state = i32::try_from(row.int(0)?).ok().and_then(|state| ReservationState::try_from(state).ok());
    let state = state.ok_or(Error::Damaged("a state"))?;
    Ok(Some(reservation(id, state, lines.collect::<Result<_, _>>()?, row.int(1)?)))
}

fn reservation(id: &str, state: ReservationState, lines: Vec<ReservationLine>, expire_ms: i64) -> Reservation {
    Reservation {
        name: format!("reservations/{id}"),
        state: state.into(),
        lines,
        expire_time: Some(timestamp(expire_ms)),
    }
}

fn line(sku: &SkuName, quantity: i64) -> Result<ReservationLine, Error> {
    let quantity = i32::try_from(quantity).map_err(|_| Error::Damaged("a quantity"))?;
    Ok(ReservationLine { sku: sku.to_string(), quantity })
}

/// Gives back what nobody committed in time. Never returns.
pub(crate) async fn lapse(state: Arc<State>) {
    let mut interval = tokio::time::interval(LAPSE_INTERVAL);
    loop {
        interval.tick().await;
        // As long as there are more, without a pause.
        loop {
            match lapse_batch(&state).await {
                Ok(true) => state.feed.announce(),
                Ok(false) => break,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "lapsed reservations could not be given back; trying again");
                    break;
                }
            }
        }
    }
}

/// Gives back the holds that lapsed first; false if there was none.
async fn lapse_batch(state: &State) -> Result<bool, Error> {
    // Most looks find nothing, and need no write.
    if state.store.read(due_ids).await?.is_empty() {
        return Ok(false);
    }
    state
        .store
        .write(None, |tx| {
            for id in due_ids(tx)? {
                let held = load(tx, &id)?.ok_or(Error::NotFound("reservation"))?;
                finish(tx, &id, held, ReservationState::Lapsed)?;
            }
            Ok(true)
        })
        .await
}

fn due_ids(tx: &mut dyn Tx) -> Result<Vec<String>, Error> {
    let held = i64::from(i32::from(ReservationState::Held));
    let rows = tx.rows(
        "SELECT id FROM reservations WHERE state = $1 AND expire_ms <= $2 ORDER BY expire_ms LIMIT $3",
        &[held.into(), now_ms().into(), LAPSE_BATCH.into()],
    )?;
    rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
}
