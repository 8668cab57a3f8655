//! Products as they are stored, and the two views of them: the buyer's and the seller's.

use std::collections::BTreeMap;

use sekat_api_catalog::v1::{
    BatchGetProductsRequest, BatchGetProductsResponse, GetProductRequest, ListProductsRequest, ListProductsResponse,
    Listing, ListingSku, Product, SearchProductsRequest, SearchProductsResponse, Sku, StockStatus,
};
use sekat_money::{Currency, Money};
use sekat_service::{Invalid, Page, timestamp};
use sekat_store::{FilterDigest, Row, Tx, Value};

use crate::batch::names_of_batch;
use crate::error::Error;
use crate::names::{self, SkuName};
use crate::rpc::State;

/// More than this many pieces are shown as in stock, fewer as low.
const LOW_STOCK: i64 = 10;
/// A product has at most this many variants; the bound of the query that reads them.
const MAX_SKUS: i64 = 50;

/// A product with its variants.
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) merchant: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) category: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) image_uri: String,
    pub(crate) supplier_reference: String,
    pub(crate) version: i64,
    pub(crate) create_ms: i64,
    pub(crate) update_ms: i64,
    pub(crate) seller_display_name: String,
    pub(crate) is_offered: bool,
    pub(crate) skus: Vec<StoredSku>,
}

/// A variant.
pub(crate) struct StoredSku {
    pub(crate) code: String,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) unit: String,
    pub(crate) weight: i64,
    pub(crate) price: Money,
    pub(crate) cost: Option<Money>,
    pub(crate) on_hand: i64,
    pub(crate) reserved: i64,
}

impl StoredSku {
    pub(crate) fn label(&self) -> String {
        label(&self.options)
    }

    pub(crate) const fn available(&self) -> i64 {
        self.on_hand.saturating_sub(self.reserved)
    }
}

/// What sets a variant with these options apart, for instance `Merah, M`.
pub(crate) fn label(options: &BTreeMap<String, String>) -> String {
    options.values().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The bucket of so many pieces.
pub(crate) const fn stock_status(available: i64) -> StockStatus {
    match available {
        ..=0 => StockStatus::Out,
        1..=LOW_STOCK => StockStatus::Low,
        _ => StockStatus::InStock,
    }
}

impl Stored {
    pub(crate) fn name(&self) -> String {
        format!("products/{}", self.id)
    }

    pub(crate) fn sku_name(&self, sku: &StoredSku) -> String {
        SkuName { product: self.id.clone(), code: sku.code.clone() }.to_string()
    }

    /// What buyers see.
    pub(crate) fn for_buyers(&self, operator: &str) -> Product {
        let skus = self.skus.iter().map(|sku| Sku {
            name: self.sku_name(sku),
            label: sku.label(),
            options: sku.options.clone(),
            unit: sku.unit.clone(),
            weight_grams: i32::try_from(sku.weight).unwrap_or(i32::MAX),
            price: Some(sku.price.into()),
            stock_status: stock_status(sku.available()).into(),
        });
        Product {
            name: self.name(),
            title: self.title.clone(),
            description: self.description.clone(),
            category: self.category.clone(),
            attributes: self.attributes.clone(),
            image_uri: self.image_uri.clone(),
            merchant: format!("merchants/{}", self.merchant),
            seller_display_name: self.seller_display_name.clone(),
            operator_display_name: operator.to_owned(),
            skus: skus.collect(),
            update_time: Some(timestamp(self.update_ms)),
        }
    }

    /// What the seller sees.
    pub(crate) fn for_seller(&self) -> Listing {
        let skus = self.skus.iter().map(|sku| ListingSku {
            sku_code: sku.code.clone(),
            sku: self.sku_name(sku),
            options: sku.options.clone(),
            unit: sku.unit.clone(),
            weight_grams: i32::try_from(sku.weight).unwrap_or(i32::MAX),
            price: Some(sku.price.into()),
            cost: sku.cost.map(Into::into),
            on_hand: sku.on_hand,
        });
        Listing {
            name: format!("merchants/{}/listings/{}", self.merchant, self.id),
            product: self.name(),
            title: self.title.clone(),
            description: self.description.clone(),
            category: self.category.clone(),
            attributes: self.attributes.clone(),
            image_uri: self.image_uri.clone(),
            skus: skus.collect(),
            supplier_reference: self.supplier_reference.clone(),
            etag: self.version.to_string(),
            create_time: Some(timestamp(self.create_ms)),
            update_time: Some(timestamp(self.update_ms)),
        }
    }
}

/// Reads a product that is not deleted, offered or not.
pub(crate) fn load(tx: &mut dyn Tx, id: &str) -> Result<Option<Stored>, Error> {
    let row = tx.optional(
        "SELECT p.id, p.merchant, p.title, p.description, p.category, p.attributes, p.image_uri,
                p.supplier_reference, p.version, p.create_ms, p.update_ms, m.display_name, m.admitted
         FROM products p JOIN merchants m ON m.id = p.merchant
         WHERE p.id = $1 AND p.deleted = 0",
        &[Value::from(id)],
    )?;
    let Some(row) = row else { return Ok(None) };
    let skus = tx.rows(
        "SELECT code, options, unit, weight, price, cost, on_hand, reserved
         FROM skus WHERE product = $1 AND deleted = 0 ORDER BY position LIMIT $2",
        &[Value::from(id), MAX_SKUS.into()],
    )?;
    Ok(Some(Stored {
        id: row.text(0)?.to_owned(),
        merchant: row.text(1)?.to_owned(),
        title: row.text(2)?.to_owned(),
        description: row.text(3)?.to_owned(),
        category: row.text(4)?.to_owned(),
        attributes: map_of(row.text(5)?)?,
        image_uri: row.text(6)?.to_owned(),
        supplier_reference: row.text(7)?.to_owned(),
        version: row.int(8)?,
        create_ms: row.int(9)?,
        update_ms: row.int(10)?,
        seller_display_name: row.text(11)?.to_owned(),
        is_offered: row.bool(12)?,
        skus: skus.iter().map(sku).collect::<Result<_, _>>()?,
    }))
}

/// Reads a product that buyers may see.
pub(crate) fn load_offered(tx: &mut dyn Tx, id: &str) -> Result<Option<Stored>, Error> {
    Ok(load(tx, id)?.filter(|product| product.is_offered))
}

/// Makes the etags that a seller read before stale. The time of change stays: the feed shows it, and who reads the feed
/// is not to learn of each sale.
pub(crate) fn bump_version(tx: &mut dyn Tx, id: &str) -> Result<(), Error> {
    tx.exec("UPDATE products SET version = version + 1 WHERE id = $1", &[Value::from(id)])?;
    Ok(())
}

fn sku(row: &Row) -> Result<StoredSku, Error> {
    Ok(StoredSku {
        code: row.text(0)?.to_owned(),
        options: map_of(row.text(1)?)?,
        unit: row.text(2)?.to_owned(),
        weight: row.int(3)?,
        price: rupiah(row.int(4)?)?,
        cost: row.opt_int(5)?.map(rupiah).transpose()?,
        on_hand: row.int(6)?,
        reserved: row.int(7)?,
    })
}

pub(crate) fn rupiah(minor: i64) -> Result<Money, Error> {
    Money::from_minor(Currency::Idr, minor).map_err(|_| Error::Damaged("an amount"))
}

pub(crate) fn map_of(json: &str) -> Result<BTreeMap<String, String>, Error> {
    serde_json::from_str(json).map_err(|_| Error::Damaged("attributes"))
}

/// One product, as buyers see it.
pub(crate) async fn get(state: &State, request: GetProductRequest) -> Result<Product, Error> {
    let id = names::id(&request.name, "products", "product")?.to_owned();
    let found = state.store.read(move |tx| load_offered(tx, &id)).await?;
    found.map(|product| product.for_buyers(&state.operator)).ok_or(Error::NotFound("product"))
}

/// Several products; all must exist.
pub(crate) async fn batch_get(
    state: &State,
    request: BatchGetProductsRequest,
) -> Result<BatchGetProductsResponse, Error> {
    let ids = names_of_batch(&request.names)?;
    let operator = state.operator.clone();
    let products = state
        .store
        .read(move |tx| {
            let load_one = |id: &String| {
                load_offered(tx, id)?.map(|product| product.for_buyers(&operator)).ok_or(Error::NotFound("product"))
            };
            ids.iter().map(load_one).collect::<Result<Vec<_>, Error>>()
        })
        .await?;
    Ok(BatchGetProductsResponse { products })
}

/// Offered products by id.
pub(crate) async fn list(state: &State, request: ListProductsRequest) -> Result<ListProductsResponse, Error> {
    let filter = FilterDigest::new("ListProducts", &[request.category.as_bytes()]);
    let page = Page::new(state.store.pages(), filter, &request.page_token, request.page_size, (20, 100))?;
    let query = Query { words: Vec::new(), category: request.category };
    let (products, next_page_token) = page_for_buyers(state, query, page).await?;
    Ok(ListProductsResponse { products, next_page_token })
}

/// Offered products that hold every word.
pub(crate) async fn search(state: &State, request: SearchProductsRequest) -> Result<SearchProductsResponse, Error> {
    let words: Vec<String> = request.query.to_lowercase().split_whitespace().map(str::to_owned).collect();
    if words.is_empty() || words.len() > MAX_WORDS || request.query.chars().count() > MAX_QUERY_CHARACTERS {
        return Err(Invalid::field("query", "must have 1 to 10 words and at most 200 characters").into());
    }
    let filter = FilterDigest::new("SearchProducts", &[request.query.as_bytes(), request.category.as_bytes()]);
    let page = Page::new(state.store.pages(), filter, &request.page_token, request.page_size, (20, 100))?;
    let query = Query { words, category: request.category };
    let (products, next_page_token) = page_for_buyers(state, query, page).await?;
    Ok(SearchProductsResponse { products, next_page_token })
}

/// What a page of offered products is selected by.
pub(crate) struct Query {
    pub(crate) words: Vec<String>,
    pub(crate) category: String,
}

/// Words of a search: one parameter of the statement each.
const MAX_WORDS: usize = 10;
/// The contract's limit.
const MAX_QUERY_CHARACTERS: usize = 200;

async fn page_for_buyers(state: &State, query: Query, page: Page<'_>) -> Result<(Vec<Product>, String), Error> {
    let products = select(state, query, &page).await?;
    let rows = products.iter().map(|product| (product.id.clone(), product.for_buyers(&state.operator)));
    Ok(page.cut(rows)?)
}

/// The offered products of a page, by id, and one more if there is one.
pub(crate) async fn select(state: &State, query: Query, page: &Page<'_>) -> Result<Vec<Stored>, Error> {
    let (after, limit) = (page.after(), page.limit());
    state.store.read(move |tx| select_in(tx, &query, &after, limit)).await
}

fn select_in(tx: &mut dyn Tx, query: &Query, after: &str, limit: i64) -> Result<Vec<Stored>, Error> {
    let mut words = query.words.iter();
    let mut parameters: Vec<Value> = vec![Value::from(after), limit.into(), Value::from(&query.category)];
    for _ in 0..MAX_WORDS {
        let pattern = words.next().map_or_else(|| "%".to_owned(), |word| format!("%{}%", escape_like(word)));
        parameters.push(Value::from(pattern));
    }
    let rows = tx.rows(
        "SELECT id FROM
             (SELECT p.id, p.category, p.search || ' ' || m.search AS text
              FROM products p JOIN merchants m ON m.id = p.merchant
              WHERE p.id > $1 AND p.deleted = 0 AND m.admitted = 1) AS offered
         WHERE ($3 = '' OR category = $3 OR SUBSTR(category, 1, LENGTH($3) + 1) = $3 || '/')
           AND text LIKE $4 ESCAPE '\\' AND text LIKE $5 ESCAPE '\\' AND text LIKE $6 ESCAPE '\\'
           AND text LIKE $7 ESCAPE '\\' AND text LIKE $8 ESCAPE '\\' AND text LIKE $9 ESCAPE '\\'
           AND text LIKE $10 ESCAPE '\\' AND text LIKE $11 ESCAPE '\\' AND text LIKE $12 ESCAPE '\\'
           AND text LIKE $13 ESCAPE '\\'
         ORDER BY id LIMIT $2",
        &parameters,
    )?;
    let mut products = Vec::new();
    for row in &rows {
        products.extend(load_offered(tx, row.text(0)?)?);
    }
    Ok(products)
}

fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_searched_for_as_it_is() {
        assert_eq!(escape_like(r"100%_\"), r"100\%\_\\");
    }

    #[test]
    fn pieces_are_shown_in_buckets() {
        let table = [
            (-1, StockStatus::Out),
            (0, StockStatus::Out),
            (1, StockStatus::Low),
            (10, StockStatus::Low),
            (11, StockStatus::InStock),
        ];
        for (available, status) in table {
            assert_eq!(stock_status(available), status, "{available}");
        }
    }
}
