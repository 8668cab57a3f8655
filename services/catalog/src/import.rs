//! Taking in many listings: a long-running operation that survives a restart and can be cancelled.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use sekat_api_catalog::v1::{
    CancelImportListingsOperationRequest, GetImportListingsOperationRequest, ImportListingsError,
    ImportListingsOperation, ImportListingsRequest, Listing, State as OperationState,
};
use sekat_mesh::Permit;
use sekat_service::Invalid;
use sekat_store::{Item, NewItem, RequestKey, Tx, Value, WorkQueue, now_ms};

use crate::error::Error;
use crate::listing::{self, Checked};
use crate::names;
use crate::product;
use crate::rpc::State;

/// The kind of the work items.
const KIND: &str = "import";
/// Listings that one call may give: what fits into its message limit.
const MAX_ROWS: usize = 500;
/// Imports of one shop that may wait for each other: what they hold, at a megabyte each, is bounded.
const MAX_RUNNING: i64 = 20;
/// Listings that one transaction takes in: a kill costs at most so many, and a cancellation waits for them.
const BATCH: usize = 25;
/// How long a worker may hold an import before another may take it over.
const LEASE: Duration = Duration::from_secs(60);
/// The pause after a failure of the store.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Notes the import; the work is done in the background.
pub(crate) async fn start(
    state: &State,
    permit: &Permit,
    request: ImportListingsRequest,
) -> Result<ImportListingsOperation, Error> {
    let body = request.encode_to_vec();
    let shop = listing::own_shop(permit, &request.parent)?;
    if request.listings.is_empty() || request.listings.len() > MAX_ROWS {
        return Err(Invalid::field("listings", "must hold 1 to 500 listings").into());
    }
    let total = i64::try_from(request.listings.len()).unwrap_or(i64::MAX);
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    let stored = body.clone();
    state
        .store
        .write_once(key, move |tx| {
            listing::check_admitted(tx, &shop)?;
            let running = "SELECT COUNT(*) FROM imports WHERE merchant = $1 AND state = $2";
            if tx.one(running, &[Value::from(&shop), number(OperationState::Running)])?.int(0)? >= MAX_RUNNING {
                return Err(Error::TooManyImports(MAX_RUNNING));
            }
            let id = uuid::Uuid::now_v7().simple().to_string();
            tx.exec(
                "INSERT INTO imports (id, merchant, state, total, request) VALUES ($1, $2, $3, $4, $5)",
                &[
                    Value::from(&id),
                    Value::from(&shop),
                    number(OperationState::Running),
                    total.into(),
                    Value::from(stored.clone()),
                ],
            )?;
            WorkQueue::enqueue(tx, NewItem { kind: KIND, key: &id, payload: &[], trace: None, due_ms: now_ms() })?;
            load(tx, &id)?.map(|import| import.operation).ok_or(Error::NotFound("import"))
        })
        .await
}

/// How far an import is.
pub(crate) async fn get(
    state: &State,
    permit: &Permit,
    request: GetImportListingsOperationRequest,
) -> Result<ImportListingsOperation, Error> {
    let (shop, id) = own_import(permit, &request.name)?;
    let found = state.store.read(move |tx| load(tx, &id)).await?;
    found.filter(|import| import.shop == shop).map(|import| import.operation).ok_or(Error::NotFound("import"))
}

/// Stops an import after the batch at hand.
pub(crate) async fn cancel(
    state: &State,
    permit: &Permit,
    request: CancelImportListingsOperationRequest,
) -> Result<ImportListingsOperation, Error> {
    let body = request.encode_to_vec();
    let (shop, id) = own_import(permit, &request.name)?;
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    state
        .store
        .write_once(key, move |tx| {
            load(tx, &id)?.filter(|import| import.shop == shop).ok_or(Error::NotFound("import"))?;
            tx.exec(
                "UPDATE imports SET state = $2, request = $4 WHERE id = $1 AND state = $3",
                &[
                    Value::from(&id),
                    number(OperationState::Canceled),
                    number(OperationState::Running),
                    Value::Bytes(Vec::new()),
                ],
            )?;
            load(tx, &id)?.map(|import| import.operation).ok_or(Error::NotFound("import"))
        })
        .await
}

fn own_import(permit: &Permit, name: &str) -> Result<(String, String), Error> {
    let (shop, id) = names::in_shop(name, "imports", "import")?;
    let shop = listing::own_shop(permit, &format!("merchants/{shop}"))?;
    Ok((shop, id.to_owned()))
}

struct Import {
    shop: String,
    next_row: usize,
    operation: ImportListingsOperation,
}

fn load(tx: &mut dyn Tx, id: &str) -> Result<Option<Import>, Error> {
    let row =
        tx.optional("SELECT merchant, state, total, done, next_row FROM imports WHERE id = $1", &[Value::from(id)])?;
    let Some(row) = row else { return Ok(None) };
    let errors = tx.rows(
        "SELECT row, reason, message FROM import_errors WHERE import = $1 ORDER BY row LIMIT 500",
        &[Value::from(id)],
    )?;
    let small = |number: i64| i32::try_from(number).map_err(|_| Error::Damaged("a count"));
    let errors = errors.iter().map(|error| {
        Ok(ImportListingsError {
            row: small(error.int(0)?)?,
            reason: error.text(1)?.to_owned(),
            message: error.text(2)?.to_owned(),
        })
    });
    let shop = row.text(0)?.to_owned();
    Ok(Some(Import {
        next_row: usize::try_from(row.int(4)?).map_err(|_| Error::Damaged("a row"))?,
        operation: ImportListingsOperation {
            name: format!("merchants/{shop}/imports/{id}"),
            state: small(row.int(1)?)?,
            total_rows: small(row.int(2)?)?,
            done_rows: small(row.int(3)?)?,
            errors: errors.collect::<Result<_, Error>>()?,
        },
        shop,
    }))
}

fn number(state: OperationState) -> Value {
    i64::from(i32::from(state)).into()
}

/// Works imports off, one after the other, for as long as the service runs.
pub(crate) async fn work(state: Arc<State>) {
    let mut queue = state.store.work();
    loop {
        match queue.next(&[KIND], 1, LEASE).await {
            Ok(items) => {
                for item in items {
                    run(&state, item).await;
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "imports wait for the store");
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }
}

async fn run(state: &State, item: Item) {
    let id = item.key.clone();
    let rows = match rows(state, &id).await {
        Ok(rows) => Arc::new(rows),
        Err(error) => return give_back(state, &item, &error).await,
    };
    loop {
        let (id, rows, lease) = (id.clone(), Arc::clone(&rows), item.lease);
        let step = state.store.write::<_, Error>(None, move |tx| {
            let finished = take_batch(tx, &id, &rows)?;
            if finished {
                WorkQueue::done(tx, lease)?;
            }
            Ok(finished)
        });
        match step.await {
            Ok(finished) => {
                state.feed.announce();
                if finished {
                    return;
                }
            }
            Err(error) => return give_back(state, &item, &error).await,
        }
    }
}

async fn give_back(state: &State, item: &Item, error: &Error) {
    tracing::error!(error = error as &dyn std::error::Error, "an import was interrupted; it goes on");
    let (lease, text) = (item.lease, error.to_string());
    let due_ms = now_ms().saturating_add(i64::try_from(STORE_PAUSE.as_millis()).unwrap_or(i64::MAX));
    let returned = state.store.write::<_, Error>(None, move |tx| Ok(WorkQueue::retry(tx, lease, due_ms, &text)?));
    if let Err(error) = returned.await {
        // The lease runs out by itself.
        tracing::error!(error = &error as &dyn std::error::Error, "an import could not be given back");
    }
}

async fn rows(state: &State, id: &str) -> Result<Vec<Listing>, Error> {
    let id = id.to_owned();
    let request = state
        .store
        .read::<_, Error>(move |tx| {
            Ok(tx.one("SELECT request FROM imports WHERE id = $1", &[Value::from(&id)])?.bytes(0)?.to_vec())
        })
        .await?;
    let request = ImportListingsRequest::decode(request.as_slice()).map_err(|_| Error::Damaged("an import"))?;
    Ok(request.listings)
}

/// Takes in the next rows; true if the import is finished.
fn take_batch(tx: &mut dyn Tx, id: &str, rows: &[Listing]) -> Result<bool, Error> {
    let import = load(tx, id)?.ok_or(Error::NotFound("import"))?;
    if import.operation.state() != OperationState::Running {
        return Ok(true);
    }
    let batch = rows.iter().enumerate().skip(import.next_row).take(BATCH);
    let (mut tried, mut done) = (0_i64, 0_i64);
    for (index, row) in batch {
        tried = tried.saturating_add(1);
        match take_row(tx, &import.shop, row) {
            Ok(()) => done = done.saturating_add(1),
            Err(Error::Store(error)) => return Err(error.into()),
            Err(refusal) => note_error(tx, id, index, &refusal)?,
        }
    }
    let next_row = i64::try_from(import.next_row).unwrap_or(i64::MAX).saturating_add(tried);
    let is_last = next_row >= i64::from(import.operation.total_rows);
    let state = if is_last { OperationState::Succeeded } else { OperationState::Running };
    tx.exec(
        "UPDATE imports SET next_row = $2, done = done + $3, state = $4 WHERE id = $1",
        &[Value::from(id), next_row.into(), done.into(), number(state)],
    )?;
    if is_last {
        tx.exec("UPDATE imports SET request = $2 WHERE id = $1", &[Value::from(id), Value::Bytes(Vec::new())])?;
    }
    Ok(is_last)
}

/// Creates a product, or replaces the one whose first sku has the same code. Everything that can be refused is
/// looked at before the first change, because a refused row shares its transaction with others.
fn take_row(tx: &mut dyn Tx, shop: &str, row: &Listing) -> Result<(), Error> {
    let checked = Checked::new(row)?;
    let mut owners = Vec::with_capacity(row.skus.len());
    for sku in &row.skus {
        owners.push(listing::product_of_code(tx, shop, &sku.sku_code)?);
    }
    let owner = owners.first().cloned().flatten();
    if owners.iter().any(|other| other.is_some() && *other != owner) {
        return Err(Error::SkuCodeTaken);
    }
    let Some(owner) = owner else {
        return listing::insert(tx, &uuid::Uuid::now_v7().simple().to_string(), shop, &checked);
    };
    let stored = product::load(tx, &owner)?.ok_or(Error::Damaged("a sku"))?;
    for old in stored.skus.iter().filter(|old| old.reserved > 0) {
        let next = row.skus.iter().find(|new| new.sku_code == old.code);
        if next.is_none_or(|next| next.on_hand < old.reserved) {
            return Err(Error::StockHeld);
        }
    }
    listing::replace(tx, &stored, &checked, true)
}

fn note_error(tx: &mut dyn Tx, id: &str, row: usize, refusal: &Error) -> Result<(), Error> {
    let row = i64::try_from(row).unwrap_or(i64::MAX);
    tx.exec(
        "INSERT INTO import_errors (import, row, reason, message) VALUES ($1, $2, $3, $4)",
        &[Value::from(id), row.into(), Value::from(refusal.reason()), Value::from(refusal.to_string())],
    )?;
    Ok(())
}
