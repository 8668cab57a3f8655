//! A seller's business and what it offers.

use acceptance::shop::{request, request_id};
use sekat_api_catalog::v1 as catalog;
use sekat_api_catalog::v1::listing_service_client::ListingServiceClient;
use sekat_api_google::r#type::Money;
use sekat_api_merchant::v1 as merchant;

use super::{World, Write, mask};

impl World {
    pub(super) async fn listings(&self) -> Vec<Write> {
        let mut writes = vec![self.business()];
        writes.extend(self.offers().await);
        writes.extend(self.imports().await);
        writes
    }

    fn business(&self) -> Write {
        let business = |city: &str| merchant::CreateMerchantRequest {
            merchant: Some(merchant::Merchant {
                display_name: "Warung Baru".to_owned(),
                city: city.to_owned(),
                legal_name: "CV Warung Baru".to_owned(),
                nib: "1234567890123".to_owned(),
                npwp: "1234567890123456".to_owned(),
                ..Default::default()
            }),
            request_id: "create-merchant".to_owned(),
        };
        Write {
            token: Some(self.newcomer.token().to_owned()),
            ..self.seller(
                "/sekat.merchant.v1.MerchantService/CreateMerchant",
                &business("Sleman"),
                &business("Bantul"),
                ("merchant", "SELECT COUNT(*) FROM merchants"),
            )
        }
    }

    /// Lists something.
    async fn listed(&self, code: &str) -> catalog::Listing {
        let creation = catalog::CreateListingRequest {
            parent: self.shop.seller.session.merchant.clone(),
            listing: Some(listing("Kain", code)),
            request_id: request_id(),
        };
        let mut listings = ListingServiceClient::new(self.commerce.clone());
        let listed = listings.create_listing(request(Some(self.shop.seller.token()), creation)).await;
        listed.expect("a listing").into_inner()
    }

    async fn offers(&self) -> [Write; 4] {
        let made = [self.listed("D").await, self.listed("E").await, self.listed("F").await];
        let creation = |title: &str| catalog::CreateListingRequest {
            parent: self.shop.seller.session.merchant.clone(),
            listing: Some(listing(title, "LURIK")),
            request_id: "create-listing".to_owned(),
        };
        let create_listing = self.seller(
            "/sekat.catalog.v1.ListingService/CreateListing",
            &creation("Kain lurik"),
            &creation("Kain jumputan"),
            ("catalog", "SELECT COUNT(*) FROM products"),
        );
        let change = |title: &str| catalog::UpdateListingRequest {
            listing: Some(catalog::Listing {
                name: made[0].name.clone(),
                title: title.to_owned(),
                ..Default::default()
            }),
            update_mask: mask("title"),
            request_id: "update-listing".to_owned(),
            ..Default::default()
        };
        let update_listing = self.seller(
            "/sekat.catalog.v1.ListingService/UpdateListing",
            &change("Kain tenun"),
            &change("Kain songket"),
            ("catalog", "SELECT SUM(version) FROM products"),
        );
        let removal = |index: usize| catalog::DeleteListingRequest {
            name: made[index].name.clone(),
            request_id: "delete-listing".to_owned(),
            ..Default::default()
        };
        let delete_listing = self.seller(
            "/sekat.catalog.v1.ListingService/DeleteListing",
            &removal(1),
            &removal(0),
            ("catalog", "SELECT COUNT(*) FROM products WHERE deleted = 1"),
        );
        let level = |on_hand: i64| catalog::UpdateStockLevelRequest {
            stock_level: Some(catalog::StockLevel { sku: made[2].skus[0].sku.clone(), on_hand, ..Default::default() }),
            update_mask: mask("on_hand"),
            request_id: "update-stock".to_owned(),
            ..Default::default()
        };
        let update_stock = self.seller(
            "/sekat.catalog.v1.InventoryService/UpdateStockLevel",
            &level(8),
            &level(9),
            ("catalog", "SELECT SUM(on_hand) FROM skus"),
        );
        [create_listing, update_listing, delete_listing, update_stock]
    }

    async fn imports(&self) -> [Write; 2] {
        let merchant = &self.shop.seller.session.merchant;
        let import = |code: &str, request_id: &str| catalog::ImportListingsRequest {
            parent: merchant.clone(),
            listings: vec![listing("Kain", code)],
            request_id: request_id.to_owned(),
        };
        let import_listings = self.seller(
            "/sekat.catalog.v1.ListingService/ImportListings",
            &import("G", "import"),
            &import("H", "import"),
            ("catalog", "SELECT COUNT(*) FROM imports"),
        );
        let mut imported = Vec::new();
        for code in ["I", "J"] {
            let operation = ListingServiceClient::new(self.commerce.clone())
                .import_listings(request(Some(self.shop.seller.token()), import(code, &request_id())))
                .await;
            imported.push(operation.expect("an import").into_inner());
        }
        let cancellation = |index: usize| catalog::CancelImportListingsOperationRequest {
            name: imported[index].name.clone(),
            request_id: "cancel-import".to_owned(),
        };
        let cancel_import = self.seller(
            "/sekat.catalog.v1.ListingService/CancelImportListingsOperation",
            &cancellation(0),
            &cancellation(1),
            // The import may be over already; the request is carried out all the same, once.
            ("catalog", "SELECT COUNT(*) FROM request_ids WHERE method LIKE '%/CancelImportListingsOperation'"),
        );
        [import_listings, cancel_import]
    }
}

/// A listing with several of everything that a map can hold: the same request must have the same bytes to the store.
fn listing(title: &str, code: &str) -> catalog::Listing {
    let facts = [("bahan", "katun"), ("asal", "Bantul"), ("lebar", "110 cm"), ("warna", "biru"), ("motif", "garis")];
    let sku = catalog::ListingSku {
        sku_code: code.to_owned(),
        unit: "meter".to_owned(),
        weight_grams: 200,
        price: Some(Money { currency_code: "IDR".to_owned(), units: 45_000, nanos: 0 }),
        on_hand: 7,
        ..Default::default()
    };
    catalog::Listing {
        title: title.to_owned(),
        category: "Fashion/Kain".to_owned(),
        attributes: facts.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect(),
        skus: vec![sku],
        ..Default::default()
    }
}
