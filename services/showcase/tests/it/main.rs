//! The showcase over the mesh, with a real catalog behind its feed.
#![cfg(test)]

mod following;
mod handoffs;
mod pages;

use std::sync::atomic::{AtomicU64, Ordering};

use sekat_api_catalog::v1::listing_gate_service_client::ListingGateServiceClient;
use sekat_api_catalog::v1::listing_service_client::ListingServiceClient;
use sekat_api_catalog::v1::{
    CreateListingRequest, DeleteListingRequest, Listing, ListingSku, SetMerchantListingStateRequest,
    UpdateListingRequest,
};
use sekat_api_google::r#type::Money;
use sekat_api_showcase::API;
use sekat_api_showcase::v1::pin_service_client::PinServiceClient;
use sekat_api_showcase::v1::showcase_service_client::ShowcaseServiceClient;
use sekat_api_showcase::v1::{CreatePinRequest, CreateShowcaseRequest, GetShowcaseRequest, Pin, Showcase};
use sekat_mesh::Channel;
use sekat_testkit::{Caller, Process, World, eventually, signed_in};
use tonic::{Request, Status};

const SELLER: (&str, &str) = ("accounts/sari", "merchants/sari");
const CREATOR: &str = "batik.sari";

/// A showcase with its edge.
struct Stage {
    world: World,
    showcase: Process,
    edge: Caller,
}

impl Stage {
    async fn open() -> Self {
        let world = World::new();
        let showcase = start(&world).await;
        let edge = world.caller("showcase-edge").await;
        Self { world, showcase, edge }
    }

    /// Stops the showcase and starts it again on the same store.
    async fn restarted(self) -> Self {
        let Self { world, showcase, edge } = self;
        showcase.stop().await;
        let showcase = start(&world).await;
        Self { world, showcase, edge }
    }

    fn pins(&self) -> PinServiceClient<Channel> {
        PinServiceClient::new(self.edge.channel(&API))
    }

    fn pages(&self) -> ShowcaseServiceClient<Channel> {
        ShowcaseServiceClient::new(self.edge.channel(&API))
    }

    fn by<T>(&self, handle: &str, message: T) -> Request<T> {
        signed_in(&self.world.creator(handle), message)
    }

    async fn open_page(&self, handle: &str, display_name: &str) -> Result<Showcase, Status> {
        let showcase = Showcase {
            display_name: display_name.to_owned(),
            campaign: "Beli Lokal 12.12".to_owned(),
            ..Showcase::default()
        };
        let request_id = format!("open-{}", display_name.replace(' ', "-"));
        let request = CreateShowcaseRequest { showcase: Some(showcase), request_id };
        Ok(self.pages().create_showcase(self.by(handle, request)).await?.into_inner())
    }

    async fn page(&self, name: &str) -> Result<Showcase, Status> {
        let request = GetShowcaseRequest { name: name.to_owned() };
        Ok(self.pages().get_showcase(request).await?.into_inner())
    }

    async fn pin(&self, handle: &str, page: &str, sku: &str, request_id: &str) -> Result<Pin, Status> {
        let request = CreatePinRequest {
            parent: page.to_owned(),
            pin: Some(Pin { sku: sku.to_owned(), note: "Suka sekali.".to_owned(), ..Pin::default() }),
            request_id: request_id.to_owned(),
        };
        Ok(self.pins().create_pin(self.by(handle, request)).await?.into_inner())
    }

    /// Waits until the page is as it should be.
    async fn until(&self, what: &str, page: &str, mut holds: impl FnMut(&Showcase) -> bool) -> Showcase {
        eventually(what, async || holds(&self.page(page).await.unwrap())).await;
        self.page(page).await.unwrap()
    }
}

async fn start(world: &World) -> Process {
    world.start("showcase", sekat_showcase::Config::read, sekat_showcase::build).await
}

/// A catalog with Sari's shop.
struct Commerce {
    catalog: Process,
    edge: Caller,
    seller: String,
}

impl Commerce {
    async fn open(world: &World) -> Self {
        let catalog = start_catalog(world).await;
        let gate = world.caller("merchant").await.channel(&sekat_api_catalog::API);
        let request = SetMerchantListingStateRequest {
            merchant: SELLER.1.to_owned(),
            display_name: "Batik Sari".to_owned(),
            city: "Surakarta".to_owned(),
            admitted: true,
            request_id: "admit".to_owned(),
        };
        ListingGateServiceClient::new(gate).set_merchant_listing_state(request).await.unwrap();
        let edge = world.caller("commerce-edge").await;
        Self { catalog, edge, seller: world.seller(SELLER.0, SELLER.1) }
    }

    fn listings(&self) -> ListingServiceClient<Channel> {
        ListingServiceClient::new(self.edge.channel(&sekat_api_catalog::API))
    }

    async fn offer(&self, title: &str, codes: &[&str]) -> Listing {
        let listing = Listing {
            title: title.to_owned(),
            category: "Fashion/Batik".to_owned(),
            skus: codes.iter().map(|code| sku(code, 25_000)).collect(),
            ..Listing::default()
        };
        let request =
            CreateListingRequest { parent: SELLER.1.to_owned(), listing: Some(listing), request_id: request_id() };
        self.listings().create_listing(signed_in(&self.seller, request)).await.unwrap().into_inner()
    }

    async fn reprice(&self, listing: &Listing, units: i64) {
        let skus = listing.skus.iter().map(|old| sku(&old.sku_code, units)).collect();
        let request = UpdateListingRequest {
            listing: Some(Listing { name: listing.name.clone(), skus, ..Listing::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["skus".to_owned()] }),
            etag: String::new(),
            request_id: request_id(),
        };
        self.listings().update_listing(signed_in(&self.seller, request)).await.unwrap();
    }

    async fn withdraw(&self, listing: &Listing) {
        let request =
            DeleteListingRequest { name: listing.name.clone(), etag: String::new(), request_id: request_id() };
        self.listings().delete_listing(signed_in(&self.seller, request)).await.unwrap();
    }
}

async fn start_catalog(world: &World) -> Process {
    world.start("catalog", sekat_catalog::Config::read, sekat_catalog::build).await
}

fn sku(code: &str, units: i64) -> ListingSku {
    ListingSku {
        sku_code: code.to_owned(),
        unit: "pcs".to_owned(),
        price: Some(Money { currency_code: "IDR".to_owned(), units, nanos: 0 }),
        on_hand: 50,
        ..ListingSku::default()
    }
}

/// One that no other request of the test run has.
fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("r{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
