//! Creators' pages.

use prost::Message as _;
use sekat_api_showcase::v1::{
    CreateShowcaseRequest, GetShowcaseRequest, ListShowcasesRequest, ListShowcasesResponse, Showcase,
};
use sekat_mesh::Permit;
use sekat_service::{Page, Violations, is_text, timestamp};
use sekat_store::{FilterDigest, RequestKey, Row, Tx, Value, now_ms};

use crate::error::Error;
use crate::pin;
use crate::rpc::State;

/// More pages than a creator can keep alive, and a bound on what one can store.
const MAX_SHOWCASES: i64 = 100;

/// A page with its pins.
pub(crate) async fn get(state: &State, request: GetShowcaseRequest) -> Result<Showcase, Error> {
    let id = id(&request.name)?.to_owned();
    let drawing = pin::Drawing::now(state);
    let operator = state.operator.clone();
    state
        .store
        .read(move |tx| {
            let mut page = load(tx, &id, &operator)?.ok_or(Error::NotFound("showcase"))?;
            page.pins = pin::all(tx, &id, &drawing)?;
            Ok(page)
        })
        .await
}

/// Pages without their pins, the oldest first.
pub(crate) async fn list(state: &State, request: ListShowcasesRequest) -> Result<ListShowcasesResponse, Error> {
    let filter = FilterDigest::new("ListShowcases", &[]);
    let page = Page::new(state.store.pages(), filter, &request.page_token, request.page_size, (20, 100))?;
    let (after, limit) = (page.after(), page.limit());
    let operator = state.operator.clone();
    let rows = state
        .store
        .read::<_, Error>(move |tx| {
            let rows = tx.rows(
                "SELECT id, creator_handle, display_name, campaign, create_ms
                 FROM showcases WHERE id > $1 ORDER BY id LIMIT $2",
                &[Value::from(&after), limit.into()],
            )?;
            rows.iter().map(|row| Ok((row.text(0)?.to_owned(), read(row, &operator)?))).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let (showcases, next_page_token) = page.cut(rows)?;
    Ok(ListShowcasesResponse { showcases, next_page_token })
}

/// Opens a page for the creator who calls.
pub(crate) async fn create(state: &State, permit: &Permit, request: CreateShowcaseRequest) -> Result<Showcase, Error> {
    let body = request.encode_to_vec();
    let handle = permit.creator().map_err(|_| Error::NotOwner)?.to_owned();
    let wanted = request.showcase.unwrap_or_default();
    let mut violations = Violations::default();
    violations.check(is_text(&wanted.display_name, 1..=120), "showcase.display_name", "must have 1 to 120 characters");
    violations.check(is_text(&wanted.campaign, 0..=60), "showcase.campaign", "must have at most 60 characters");
    violations.finish()?;
    let operator = state.operator.clone();
    let key = RequestKey { access: permit.access(), request_id: &request.request_id, body: &body };
    state
        .store
        .write_once(key, move |tx| {
            let count = "SELECT COUNT(*) FROM showcases WHERE creator_handle = $1";
            if tx.one(count, &[Value::from(&handle)])?.int(0)? >= MAX_SHOWCASES {
                return Err(Error::TooManyShowcases(MAX_SHOWCASES));
            }
            let id = uuid::Uuid::now_v7().simple().to_string();
            tx.exec(
                "INSERT INTO showcases (id, creator_handle, display_name, campaign, create_ms)
                 VALUES ($1, $2, $3, $4, $5)",
                &[
                    Value::from(&id),
                    Value::from(&handle),
                    Value::from(&wanted.display_name),
                    Value::from(&wanted.campaign),
                    now_ms().into(),
                ],
            )?;
            load(tx, &id, &operator)?.ok_or(Error::NotFound("showcase"))
        })
        .await
}

/// The id in `showcases/{showcase}`.
pub(crate) fn id(name: &str) -> Result<&str, Error> {
    name.strip_prefix("showcases/").filter(|id| !id.is_empty() && !id.contains('/')).ok_or(Error::NotFound("showcase"))
}

/// A page without its pins.
pub(crate) fn load(tx: &mut dyn Tx, id: &str, operator: &str) -> Result<Option<Showcase>, Error> {
    let row = tx.optional(
        "SELECT id, creator_handle, display_name, campaign, create_ms FROM showcases WHERE id = $1",
        &[Value::from(id)],
    )?;
    row.map(|row| read(&row, operator)).transpose()
}

/// Refuses whoever is not the page's creator.
pub(crate) fn check_owner(tx: &mut dyn Tx, id: &str, handle: &str) -> Result<(), Error> {
    let row = tx.optional("SELECT creator_handle FROM showcases WHERE id = $1", &[Value::from(id)])?;
    let owner = row.ok_or(Error::NotFound("showcase"))?;
    if owner.text(0)? == handle { Ok(()) } else { Err(Error::NotOwner) }
}

fn read(row: &Row, operator: &str) -> Result<Showcase, Error> {
    Ok(Showcase {
        name: format!("showcases/{}", row.text(0)?),
        creator_handle: row.text(1)?.to_owned(),
        display_name: row.text(2)?.to_owned(),
        campaign: row.text(3)?.to_owned(),
        operator_display_name: operator.to_owned(),
        pins: Vec::new(),
        create_time: Some(timestamp(row.int(4)?)),
    })
}
