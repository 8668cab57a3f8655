//! Imports: each row stands for itself, a restart loses nothing, a cancellation ends it.

use std::ops::Range;

use sekat_api_catalog::v1::{
    CancelImportListingsOperationRequest, GetImportListingsOperationRequest, ImportListingsOperation,
    ImportListingsRequest, Listing, State,
};
use sekat_testkit::{eventually, refused};
use tonic::{Code, Status};

use crate::{BUDI, SARI, Shop, request_id, shirt};

impl Shop {
    async fn import(&self, by: &str, listings: Vec<Listing>) -> Result<ImportListingsOperation, Status> {
        let request = ImportListingsRequest { parent: by.to_owned(), listings, request_id: request_id() };
        Ok(self.listings().import_listings(self.by(by, request)).await?.into_inner())
    }

    async fn operation(&self, by: &str, name: &str) -> Result<ImportListingsOperation, Status> {
        let request = self.by(by, GetImportListingsOperationRequest { name: name.to_owned() });
        Ok(self.listings().get_import_listings_operation(request).await?.into_inner())
    }

    async fn cancel(&self, by: &str, name: &str) -> Result<ImportListingsOperation, Status> {
        let request = CancelImportListingsOperationRequest { name: name.to_owned(), request_id: request_id() };
        Ok(self.listings().cancel_import_listings_operation(self.by(by, request)).await?.into_inner())
    }

    /// Waits until all rows were tried.
    async fn imported(&self, by: &str, name: &str) -> ImportListingsOperation {
        eventually("the import is done", async || self.operation(by, name).await.unwrap().state() == State::Succeeded)
            .await;
        self.operation(by, name).await.unwrap()
    }

    /// Takes in rows of which none is refused.
    pub(crate) async fn import_all(&self, by: &str, listings: Vec<Listing>) {
        let operation = self.import(by, listings).await.unwrap();
        let operation = self.imported(by, &operation.name).await;
        assert_eq!((operation.done_rows, operation.errors.len()), (operation.total_rows, 0));
    }
}

/// `c0` and so on.
pub(crate) fn codes(range: Range<usize>) -> Vec<String> {
    range.map(|number| format!("c{number}")).collect()
}

/// Enough work that a test can step in before it is done: 500 listings of 8 variants.
fn much() -> Vec<Listing> {
    let variants = |row: usize| (0..8).map(move |variant| format!("c{row}-{variant}")).collect::<Vec<_>>();
    let row = |row| shirt(&variants(row).iter().map(String::as_str).collect::<Vec<_>>(), 5);
    (0..500).map(row).collect()
}

#[tokio::test]
async fn bad_rows_are_named_and_good_ones_are_taken_in() {
    let shop = Shop::open().await;
    shop.offer(SARI, shirt(&["old", "taken"], 1)).await.unwrap();
    let mut rows: Vec<Listing> = codes(0..500).iter().map(|code| shirt(&[code], 5)).collect();
    rows[3].title.clear();
    rows[30] = shirt(&["c30", "taken"], 5);
    rows[31] = shirt(&["c29"], 7);
    rows[499].skus[0].price = None;
    let operation = shop.import(SARI, rows).await.unwrap();
    assert_eq!((operation.state(), operation.total_rows), (State::Running, 500));
    let done = shop.imported(SARI, &operation.name).await;
    let errors: Vec<_> = done.errors.iter().map(|error| (error.row, error.reason.as_str())).collect();
    assert_eq!(errors, [(3, "INVALID_ARGUMENT"), (30, "SKU_CODE_TAKEN"), (499, "INVALID_ARGUMENT")]);
    assert!(done.errors[0].message.starts_with("listing.title: "), "{}", done.errors[0].message);
    assert_eq!(done.done_rows, 497);
    // Row 31 replaced what row 29 made.
    let all = shop.all_listings(SARI).await;
    assert_eq!(all.len(), 1 + 496);
    let of_code = |code: &str| all.iter().find(|listing| listing.skus[0].sku_code == code).unwrap();
    assert_eq!(of_code("c29").skus[0].on_hand, 7);
    assert_eq!(of_code("old").skus.len(), 2, "a refused row changes nothing");
}

impl Shop {
    async fn all_listings(&self, by: &str) -> Vec<Listing> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = sekat_api_catalog::v1::ListListingsRequest {
                parent: by.to_owned(),
                page_size: 100,
                page_token: std::mem::take(&mut page_token),
            };
            let page = self.listings().list_listings(self.by(by, request)).await.unwrap().into_inner();
            all.extend(page.listings);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return all;
            }
        }
    }
}

#[tokio::test]
async fn a_restart_in_the_middle_loses_and_repeats_nothing() {
    let shop = Shop::open().await;
    let operation = shop.import(SARI, much()).await.unwrap();
    eventually("some rows are done", async || shop.operation(SARI, &operation.name).await.unwrap().done_rows > 0).await;
    let before = shop.operation(SARI, &operation.name).await.unwrap();
    assert_eq!(before.state(), State::Running, "too fast to be interrupted");

    let shop = shop.restarted().await;
    assert!(shop.operation(SARI, &operation.name).await.unwrap().done_rows >= before.done_rows);
    let done = shop.imported(SARI, &operation.name).await;
    assert_eq!((done.done_rows, done.errors.len()), (500, 0));
    assert_eq!(shop.all_listings(SARI).await.len(), 500);
}

#[tokio::test]
async fn a_cancelled_import_stops_and_keeps_what_was_done() {
    let shop = Shop::open().await;
    let operation = shop.import(SARI, much()).await.unwrap();
    refused(shop.cancel(BUDI, &operation.name).await, Code::PermissionDenied, "NOT_OWNER");
    refused(shop.operation(BUDI, &operation.name).await, Code::PermissionDenied, "NOT_OWNER");
    refused(shop.cancel(SARI, &format!("{SARI}/imports/none")).await, Code::NotFound, "NOT_FOUND");
    let canceled = shop.cancel(SARI, &operation.name).await.unwrap();
    assert_eq!(canceled.state(), State::Canceled);
    assert!(canceled.done_rows < 500);
    let shop = shop.restarted().await;
    assert_eq!(shop.operation(SARI, &operation.name).await.unwrap(), canceled);
    assert_eq!(shop.all_listings(SARI).await.len(), usize::try_from(canceled.done_rows).unwrap());
    // Another one is not held up by it, and an ended one cannot be cancelled.
    let other = shop.import(BUDI, vec![shirt(&["A"], 1)]).await.unwrap();
    shop.imported(BUDI, &other.name).await;
    assert_eq!(shop.cancel(BUDI, &other.name).await.unwrap().state(), State::Succeeded);
}

#[tokio::test]
async fn an_import_has_its_limits() {
    let shop = Shop::open().await;
    let too_many: Vec<Listing> = codes(0..501).iter().map(|code| shirt(&[code], 1)).collect();
    refused(shop.import(SARI, too_many).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    refused(shop.import(SARI, Vec::new()).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    let nobody = shop.import("merchants/nobody", vec![shirt(&["A"], 1)]).await;
    refused(nobody, Code::FailedPrecondition, "MERCHANT_NOT_ADMITTED");
    // The large ones keep the small ones waiting.
    futures_util::future::join_all((0..5).map(|_| shop.import(SARI, much()))).await;
    let small = (0..30).map(|number| shop.import(SARI, vec![shirt(&[&format!("one-{number}")], 1)]));
    let replies = futures_util::future::join_all(small.collect::<Vec<_>>()).await;
    let (taken, not_taken): (Vec<_>, Vec<_>) = replies.into_iter().partition(Result::is_ok);
    assert!(taken.len() >= 15 && !not_taken.is_empty(), "{} were taken", taken.len());
    for refusal in not_taken {
        refused(refusal, Code::ResourceExhausted, "TOO_MANY_IMPORTS");
    }
    shop.import(BUDI, vec![shirt(&["A"], 1)]).await.expect("another shop's are another's");
}
