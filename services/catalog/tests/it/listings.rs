//! Listings: what a seller offers, what buyers see of it, and that nobody else changes it.

use sekat_api_catalog::v1::{
    BatchGetProductsRequest, CreateListingRequest, DeleteListingRequest, GetListingRequest, GetProductRequest,
    ListListingsRequest, Listing, Product, SearchProductsRequest, StockStatus,
};
use sekat_testkit::{refused, signed_in};
use tonic::{Code, Status};

use crate::{BUDI, SARI, Shop, request_id, rupiah, shirt, sku};

impl Shop {
    pub(crate) async fn product(&self, name: &str) -> Result<Product, Status> {
        Ok(self.products().get_product(GetProductRequest { name: name.to_owned() }).await?.into_inner())
    }

    pub(crate) async fn listing(&self, by: &str, name: &str) -> Result<Listing, Status> {
        let request = self.by(by, GetListingRequest { name: name.to_owned() });
        Ok(self.listings().get_listing(request).await?.into_inner())
    }

    pub(crate) async fn withdraw(&self, by: &str, name: &str, etag: &str, request_id: String) -> Result<(), Status> {
        let request = DeleteListingRequest { name: name.to_owned(), etag: etag.to_owned(), request_id };
        self.listings().delete_listing(self.by(by, request)).await.map(drop)
    }
}

#[tokio::test]
async fn a_product_with_two_options_in_three_levels_lives_and_ends() {
    let shop = Shop::open().await;
    let made = shop.offer(SARI, shirt(&["S", "M"], 11)).await.unwrap();
    assert_eq!(shop.listing(SARI, &made.name).await.unwrap(), made);
    assert_eq!(made.skus[0].cost, Some(rupiah(80_000)));

    let seen = shop.product(&made.product).await.unwrap();
    assert_eq!((seen.category.as_str(), seen.merchant.as_str()), ("Fashion/Batik/Kemeja", SARI));
    assert_eq!((seen.seller_display_name.as_str(), seen.operator_display_name.is_empty()), ("Batik Sari", false));
    let labels: Vec<_> = seen.skus.iter().map(|sku| (sku.label.as_str(), sku.stock_status())).collect();
    assert_eq!(labels, [("S, Merah", StockStatus::InStock), ("M, Merah", StockStatus::InStock)]);

    let dearer = Listing { name: made.name.clone(), skus: vec![sku("M", 5), sku("L", 0)], ..Listing::default() };
    let changed = shop.change(SARI, dearer, "skus", &made.etag).await.unwrap();
    assert_eq!((changed.title.as_str(), changed.skus.len()), (made.title.as_str(), 2));
    let seen = shop.product(&made.product).await.unwrap();
    let status: Vec<_> = seen.skus.iter().map(|sku| sku.stock_status()).collect();
    assert_eq!(status, [StockStatus::Low, StockStatus::Out]);

    refused(shop.withdraw(SARI, &made.name, &made.etag, request_id()).await, Code::Aborted, "ETAG_MISMATCH");
    shop.withdraw(SARI, &made.name, &changed.etag, "withdraw".to_owned()).await.unwrap();
    shop.withdraw(SARI, &made.name, &changed.etag, "withdraw".to_owned()).await.expect("a repetition");
    refused(shop.withdraw(SARI, &made.name, "", request_id()).await, Code::NotFound, "NOT_FOUND");
    refused(shop.listing(SARI, &made.name).await, Code::NotFound, "NOT_FOUND");
    refused(shop.product(&made.product).await, Code::NotFound, "NOT_FOUND");
    shop.offer(SARI, shirt(&["M"], 1)).await.expect("its codes are free again");
}

#[tokio::test]
async fn only_its_seller_touches_a_listing() {
    let shop = Shop::open().await;
    let made = shop.offer(SARI, shirt(&["S"], 1)).await.unwrap();
    let named = Listing { name: made.name.clone(), title: "Kopi".to_owned(), ..Listing::default() };
    let sku = &made.skus[0].sku;
    refused(shop.listing(BUDI, &made.name).await, Code::PermissionDenied, "NOT_OWNER");
    refused(shop.change(BUDI, named, "title", "").await, Code::PermissionDenied, "NOT_OWNER");
    refused(shop.withdraw(BUDI, &made.name, "", request_id()).await, Code::PermissionDenied, "NOT_OWNER");
    refused(shop.set_stock(BUDI, sku, 5, "").await, Code::PermissionDenied, "NOT_OWNER");
    let in_her_shop =
        CreateListingRequest { parent: SARI.to_owned(), listing: Some(shirt(&["X"], 1)), request_id: request_id() };
    let forged = shop.listings().create_listing(shop.by(BUDI, in_her_shop.clone())).await;
    refused(forged, Code::PermissionDenied, "NOT_OWNER");
    let list = ListListingsRequest { parent: SARI.to_owned(), ..ListListingsRequest::default() };
    refused(shop.listings().list_listings(shop.by(BUDI, list)).await, Code::PermissionDenied, "NOT_OWNER");
    // The same listing under a name in his own shop.
    let moved = made.name.replace(SARI, BUDI);
    refused(shop.listing(BUDI, &moved).await, Code::NotFound, "NOT_FOUND");

    let buyer = shop.world.buyer("accounts/ani");
    let by_buyer = shop.listings().create_listing(signed_in(&buyer, in_her_shop)).await;
    refused(by_buyer, Code::PermissionDenied, "END_USER_SCOPE");
    let gate = shop.admit("merchants/new", "", true).await;
    refused(gate, Code::InvalidArgument, "INVALID_ARGUMENT");
    assert_eq!(shop.listing(SARI, &made.name).await.unwrap(), made, "nothing of it was done");
}

#[tokio::test]
async fn a_masked_update_changes_its_fields_alone_and_no_stale_one() {
    let shop = Shop::open().await;
    let made = shop.offer(SARI, shirt(&["S"], 3)).await.unwrap();
    let with = |title: &str, etag: &str| Listing {
        name: made.name.clone(),
        title: title.to_owned(),
        description: "lain".to_owned(),
        etag: etag.to_owned(),
        ..Listing::default()
    };
    let first = shop.change(SARI, with("Kemeja tulis", ""), "title", &made.etag).await.unwrap();
    assert_eq!((first.title.as_str(), &first.description), ("Kemeja tulis", &made.description));
    let second = shop.change(SARI, with("", ""), "description", "").await.unwrap();
    assert_eq!((second.title.as_str(), second.description.as_str()), ("Kemeja tulis", "lain"), "both survive");

    for (listing, path, etag, code, reason) in [
        (with("Baju", ""), "title", made.etag.as_str(), Code::Aborted, "ETAG_MISMATCH"),
        (with("Baju", &made.etag), "title", "", Code::Aborted, "ETAG_MISMATCH"),
        (with("Baju", ""), "merchant", "", Code::InvalidArgument, "INVALID_ARGUMENT"),
        (with("x", ""), "title", "", Code::InvalidArgument, "INVALID_ARGUMENT"),
        (with("Baju", ""), "skus", "", Code::InvalidArgument, "INVALID_ARGUMENT"),
    ] {
        refused(shop.change(SARI, listing, path, etag).await, code, reason);
    }
}

#[tokio::test]
async fn fields_out_of_their_limits_are_named() {
    let shop = Shop::open().await;
    let bad = |change: fn(&mut Listing)| {
        let mut listing = shirt(&["S"], 1);
        change(&mut listing);
        listing
    };
    for (listing, field) in [
        (bad(|listing| listing.title = "x".to_owned()), "listing.title"),
        (bad(|listing| listing.category = "a/b/c/d".to_owned()), "listing.category"),
        (bad(|listing| listing.category = "a//b".to_owned()), "listing.category"),
        (bad(|listing| listing.image_uri = "http://contoh.id/a.jpg".to_owned()), "listing.image_uri"),
        (bad(|listing| listing.skus.clear()), "listing.skus"),
        (bad(|listing| listing.skus.push(sku("S", 1))), "listing.skus"),
        (bad(|listing| listing.skus[0].sku_code = "a/b".to_owned()), "listing.skus[0].sku_code"),
        (bad(|listing| listing.skus[0].price = Some(rupiah(99))), "listing.skus[0].price"),
        (bad(|listing| listing.skus[0].price.as_mut().unwrap().nanos = 1), "listing.skus[0].price"),
        (bad(|listing| listing.skus[0].price = None), "listing.skus[0].price"),
        (bad(|listing| listing.skus[0].on_hand = -1), "listing.skus[0].on_hand"),
        (
            bad(|listing| drop(listing.skus[0].options.insert("bahan".to_owned(), "katun".to_owned()))),
            "listing.skus[0].options",
        ),
    ] {
        let status = refused(shop.offer(SARI, listing).await, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert!(status.message().starts_with(&format!("{field}: ")), "{field}: {}", status.message());
    }
}

#[tokio::test]
async fn a_sku_code_is_one_listings_of_a_shop() {
    let shop = Shop::open().await;
    let first = shop.offer(SARI, shirt(&["A", "B"], 1)).await.unwrap();
    refused(shop.offer(SARI, shirt(&["C", "B"], 1)).await, Code::AlreadyExists, "SKU_CODE_TAKEN");
    shop.offer(BUDI, shirt(&["A"], 1)).await.expect("another shop's codes are its own");

    // The first gives B up, another takes it, and the first cannot have it back.
    let only = |codes: &[&str]| Listing { name: first.name.clone(), ..shirt(codes, 1) };
    shop.change(SARI, only(&["A"]), "skus", "").await.unwrap();
    let second = shop.offer(SARI, shirt(&["B"], 1)).await.unwrap();
    let back = shop.change(SARI, only(&["A", "B"]), "skus", "").await;
    refused(back, Code::AlreadyExists, "SKU_CODE_TAKEN");
    shop.withdraw(SARI, &second.name, "", request_id()).await.unwrap();
    let back = shop.change(SARI, only(&["A", "B"]), "skus", "").await.unwrap();
    assert_eq!(back.skus.len(), 2);
}

#[tokio::test]
async fn a_write_is_done_once() {
    let shop = Shop::open().await;
    let request =
        CreateListingRequest { parent: SARI.to_owned(), listing: Some(shirt(&["A"], 1)), request_id: request_id() };
    let create = async || shop.listings().create_listing(shop.by(SARI, request.clone())).await;
    let replies = futures_util::future::join_all((0..30).map(|_| create())).await;
    let first = replies[0].as_ref().unwrap().get_ref();
    assert!(replies.iter().all(|reply| reply.as_ref().unwrap().get_ref() == first));

    let mut other = request.clone();
    other.listing = Some(shirt(&["B"], 1));
    let other = shop.listings().create_listing(shop.by(SARI, other)).await;
    refused(other, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let theirs = CreateListingRequest { parent: BUDI.to_owned(), ..request };
    shop.listings().create_listing(shop.by(BUDI, theirs)).await.expect("another's request id is another");
}

#[tokio::test]
async fn a_shop_sells_only_while_it_is_admitted() {
    let shop = Shop::open().await;
    let made = shop.offer(SARI, shirt(&["A"], 1)).await.unwrap();
    let batch = BatchGetProductsRequest { names: vec![made.product.clone()] };
    let search = async |query: &str| {
        let request = SearchProductsRequest { query: query.to_owned(), ..SearchProductsRequest::default() };
        shop.products().search_products(request).await.unwrap().into_inner().products.len()
    };
    assert_eq!((search("BATIK sari").await, search("batik budi").await), (1, 0));
    shop.admit(SARI, "Batik Laweyan", false).await.unwrap();
    refused(shop.product(&made.product).await, Code::NotFound, "NOT_FOUND");
    refused(shop.products().batch_get_products(batch).await, Code::NotFound, "NOT_FOUND");
    refused(shop.offer(SARI, shirt(&["B"], 1)).await, Code::FailedPrecondition, "MERCHANT_NOT_ADMITTED");
    refused(shop.offer("merchants/nobody", shirt(&["B"], 1)).await, Code::FailedPrecondition, "MERCHANT_NOT_ADMITTED");
    assert_eq!(search("kemeja").await, 0);
    shop.admit(SARI, "Batik Laweyan", true).await.unwrap();
    assert_eq!(shop.product(&made.product).await.unwrap().seller_display_name, "Batik Laweyan");
    assert_eq!((search("laweyan").await, search("sari").await, search("100%").await), (1, 0, 0));
}
