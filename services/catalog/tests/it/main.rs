//! The catalog over the mesh: listings, imports, holds on stock, and the feed.
#![cfg(test)]

mod feed;
mod imports;
mod listings;
mod paging;
mod reservations;
mod stock;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use sekat_api_catalog::API;
use sekat_api_catalog::v1::inventory_service_client::InventoryServiceClient;
use sekat_api_catalog::v1::listing_gate_service_client::ListingGateServiceClient;
use sekat_api_catalog::v1::listing_service_client::ListingServiceClient;
use sekat_api_catalog::v1::product_service_client::ProductServiceClient;
use sekat_api_catalog::v1::{
    CreateListingRequest, Listing, ListingSku, SetMerchantListingStateRequest, StockLevel, UpdateListingRequest,
    UpdateStockLevelRequest,
};
use sekat_api_google::r#type::Money;
use sekat_mesh::Channel;
use sekat_testkit::{Caller, Process, World, signed_in};
use tonic::{Request, Status};

const SARI: &str = "merchants/sari";
const BUDI: &str = "merchants/budi";

/// A catalog with the shops of Sari and Budi, and those who call it.
struct Shop {
    world: World,
    catalog: Process,
    edge: Caller,
    order: Caller,
    merchant: Caller,
}

impl Shop {
    async fn open() -> Self {
        let world = World::new();
        let catalog = start(&world).await;
        let (edge, order) = (world.caller("commerce-edge").await, world.caller("order").await);
        let merchant = world.caller("merchant").await;
        let shop = Self { world, catalog, edge, order, merchant };
        for (name, display_name) in [(SARI, "Batik Sari"), (BUDI, "Kopi Budi")] {
            shop.admit(name, display_name, true).await.unwrap();
        }
        shop
    }

    /// Stops the catalog and starts it again on the same store.
    async fn restarted(self) -> Self {
        let Self { world, catalog, edge, order, merchant } = self;
        catalog.stop().await;
        let catalog = start(&world).await;
        Self { world, catalog, edge, order, merchant }
    }

    async fn admit(&self, merchant: &str, display_name: &str, admitted: bool) -> Result<(), Status> {
        let request = SetMerchantListingStateRequest {
            merchant: merchant.to_owned(),
            display_name: display_name.to_owned(),
            city: "Surakarta".to_owned(),
            admitted,
            request_id: request_id(),
        };
        let mut gate = ListingGateServiceClient::new(self.merchant.channel(&API));
        gate.set_merchant_listing_state(request).await.map(drop)
    }

    fn products(&self) -> ProductServiceClient<Channel> {
        ProductServiceClient::new(self.edge.channel(&API))
    }

    fn listings(&self) -> ListingServiceClient<Channel> {
        ListingServiceClient::new(self.edge.channel(&API).max_message_bytes(1 << 20))
    }

    /// A request of the seller of `merchant`.
    fn by<T>(&self, merchant: &str, message: T) -> Request<T> {
        let account = merchant.replace("merchants", "accounts");
        signed_in(&self.world.seller(&account, merchant), message)
    }

    async fn offer(&self, merchant: &str, listing: Listing) -> Result<Listing, Status> {
        let request =
            CreateListingRequest { parent: merchant.to_owned(), listing: Some(listing), request_id: request_id() };
        Ok(self.listings().create_listing(self.by(merchant, request)).await?.into_inner())
    }

    async fn change(&self, by: &str, listing: Listing, path: &str, etag: &str) -> Result<Listing, Status> {
        let request = UpdateListingRequest {
            listing: Some(listing),
            update_mask: Some(prost_types::FieldMask { paths: vec![path.to_owned()] }),
            etag: etag.to_owned(),
            request_id: request_id(),
        };
        Ok(self.listings().update_listing(self.by(by, request)).await?.into_inner())
    }

    async fn set_stock(&self, by: &str, sku: &str, on_hand: i64, etag: &str) -> Result<StockLevel, Status> {
        let request = UpdateStockLevelRequest {
            stock_level: Some(StockLevel { sku: sku.to_owned(), on_hand, ..StockLevel::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["on_hand".to_owned()] }),
            etag: etag.to_owned(),
            request_id: request_id(),
        };
        let mut inventory = InventoryServiceClient::new(self.edge.channel(&API));
        Ok(inventory.update_stock_level(self.by(by, request)).await?.into_inner())
    }
}

async fn start(world: &World) -> Process {
    world.start("catalog", sekat_catalog::Config::read, sekat_catalog::build).await
}

/// One that no other request of the test run has.
fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("r{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A shirt in one variant for each of these codes, `on_hand` pieces each.
fn shirt(codes: &[&str], on_hand: i64) -> Listing {
    Listing {
        title: "Kemeja batik".to_owned(),
        description: "Batik tulis dari Laweyan.".to_owned(),
        category: "Fashion/Batik/Kemeja".to_owned(),
        skus: codes.iter().map(|code| sku(code, on_hand)).collect(),
        ..Listing::default()
    }
}

fn sku(code: &str, on_hand: i64) -> ListingSku {
    ListingSku {
        sku_code: code.to_owned(),
        options: BTreeMap::from([("warna".to_owned(), "Merah".to_owned()), ("ukuran".to_owned(), code.to_owned())]),
        unit: "pcs".to_owned(),
        weight_grams: 250,
        price: Some(rupiah(125_000)),
        cost: Some(rupiah(80_000)),
        on_hand,
        ..ListingSku::default()
    }
}

fn rupiah(units: i64) -> Money {
    Money { currency_code: "IDR".to_owned(), units, nanos: 0 }
}
