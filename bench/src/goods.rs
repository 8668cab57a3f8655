//! Goods that do not sell out: a seller's shop with large stock, pinned on a creator's page, made through the edges as
//! any seller and creator would.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use sekat_api_account::v1::SessionScope;
use sekat_api_catalog::v1 as catalog;
use sekat_api_catalog::v1::listing_service_client::ListingServiceClient;
use sekat_api_catalog::v1::product_service_client::ProductServiceClient;
use sekat_api_merchant::v1 as merchant;
use sekat_api_merchant::v1::merchant_service_client::MerchantServiceClient;
use sekat_api_showcase::v1 as showcase;
use sekat_api_showcase::v1::handoff_service_client::HandoffServiceClient;
use sekat_api_showcase::v1::pin_service_client::PinServiceClient;
use sekat_api_showcase::v1::showcase_service_client::ShowcaseServiceClient;
use sekat_money::{Currency, Money};
use tonic::Code;
use tonic::transport::Channel;

use crate::app::{Caller, SignedIn, refused, request_id, sign_up};

/// As many products as a real page has; each purchase takes two of them.
const PRODUCTS: usize = 16;
/// More than any measurement sells.
const STOCK: i64 = 1_000_000;
const CATEGORY: &str = "Kerajinan/Anyaman/Keranjang";
/// Between two looks at what is not there yet.
const POLL: Duration = Duration::from_millis(10);
/// Until what one service did has reached the others.
const LIMIT: Duration = Duration::from_secs(30);
/// Handoffs that are minted at the same time.
const AT_ONCE: usize = 16;

/// The pins of a page whose goods do not sell out.
#[derive(Debug)]
pub(crate) struct Goods {
    pins: Vec<String>,
}

impl Goods {
    /// Opens a shop and a page.
    pub(crate) async fn offer(commerce: &Channel, showcase: &Channel) -> anyhow::Result<Self> {
        let offering = async {
            let seller = sign_up(commerce, SessionScope::Seller).await?;
            let name = format!("Anyaman {}", &seller.account);
            register(commerce, &seller).await?;
            import(commerce, &seller).await?;
            let skus = skus(commerce, &seller.merchant).await?;
            pin(commerce, showcase, &name, skus).await
        };
        let pins = tokio::time::timeout(LIMIT, offering).await.context("the goods are not on offer after 30 s")??;
        Ok(Self { pins })
    }

    /// Mints handoffs for two goods each.
    pub(crate) async fn handoffs(&self, showcase: &Channel, count: usize) -> anyhow::Result<Vec<String>> {
        let pairs = self.pins.iter().zip(self.pins.iter().cycle().skip(1)).cycle().take(count);
        let minted = pairs.map(|(one, other)| {
            let item = |pin: &String| showcase::HandoffItem { pin: pin.clone(), quantity: 1 };
            let request =
                showcase::CreateHandoffRequest { items: vec![item(one), item(other)], request_id: request_id() };
            let mut handoffs = HandoffServiceClient::new(showcase.clone());
            async move {
                let minted = handoffs.create_handoff(Caller::default().request(request)).await;
                minted.map(|handoff| handoff.into_inner().token).map_err(refused("minting a handoff"))
            }
        });
        stream::iter(minted).buffer_unordered(AT_ONCE).try_collect().await
    }
}

async fn register(commerce: &Channel, seller: &SignedIn) -> anyhow::Result<()> {
    let business = merchant::Merchant {
        display_name: "Anyaman Lestari".to_owned(),
        city: "Tasikmalaya".to_owned(),
        legal_name: "CV Anyaman Lestari".to_owned(),
        nib: "9120099999999".to_owned(),
        npwp: "0925499999999999".to_owned(),
        ..Default::default()
    };
    let request = merchant::CreateMerchantRequest { merchant: Some(business), request_id: request_id() };
    let created = MerchantServiceClient::new(commerce.clone()).create_merchant(seller.caller.request(request)).await;
    created.map(drop).map_err(refused("registering"))
}

async fn import(commerce: &Channel, seller: &SignedIn) -> anyhow::Result<()> {
    let mut listings = ListingServiceClient::new(commerce.clone());
    let price = Money::from_units(Currency::Idr, 25_000)?;
    let listing = |number: usize| catalog::Listing {
        title: format!("Keranjang Anyaman Pandan {number}"),
        description: "Keranjang pandan anyaman tangan.".to_owned(),
        category: CATEGORY.to_owned(),
        skus: vec![catalog::ListingSku {
            sku_code: format!("ANY-{number:03}"),
            unit: "buah".to_owned(),
            weight_grams: 350,
            price: Some(price.into()),
            on_hand: STOCK,
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = catalog::ImportListingsRequest {
        parent: seller.merchant.clone(),
        listings: (1..=PRODUCTS).map(listing).collect(),
        request_id: request_id(),
    };
    let mut interval = tokio::time::interval(POLL);
    let operation = loop {
        interval.tick().await;
        match listings.import_listings(seller.caller.request(request.clone())).await {
            Ok(operation) => break operation.into_inner().name,
            // Catalog has not been told of the merchant yet.
            Err(status) if status.code() == Code::FailedPrecondition => {}
            Err(status) => return Err(refused("importing")(status)),
        }
    };
    loop {
        interval.tick().await;
        let request = catalog::GetImportListingsOperationRequest { name: operation.clone() };
        let now = listings.get_import_listings_operation(seller.caller.request(request)).await;
        let now = now.map_err(refused("asking for the import"))?.into_inner();
        if let Some(error) = now.errors.first() {
            bail!("row {} was refused: {} ({})", error.row, error.message, error.reason);
        }
        if now.state() == catalog::State::Succeeded {
            return Ok(());
        }
    }
}

/// The skus that the shop now sells.
async fn skus(commerce: &Channel, shop: &str) -> anyhow::Result<Vec<String>> {
    let mut products = ProductServiceClient::new(commerce.clone());
    let (mut skus, mut page_token) = (Vec::new(), String::new());
    loop {
        let category = CATEGORY.to_owned();
        let request = catalog::ListProductsRequest { page_size: 100, page_token, category };
        let page = products.list_products(Caller::default().request(request)).await;
        let page = page.map_err(refused("listing products"))?.into_inner();
        let own = page.products.into_iter().filter(|product| product.merchant == shop);
        skus.extend(own.flat_map(|product| product.skus).map(|sku| sku.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if skus.len() != PRODUCTS {
        bail!("{} of {PRODUCTS} products are on sale", skus.len());
    }
    Ok(skus)
}

async fn pin(commerce: &Channel, edge: &Channel, name: &str, skus: Vec<String>) -> anyhow::Result<Vec<String>> {
    let creator = sign_up(commerce, SessionScope::Creator).await?.caller;
    let page = showcase::Showcase { display_name: name.to_owned(), ..Default::default() };
    let request = showcase::CreateShowcaseRequest { showcase: Some(page), request_id: request_id() };
    let page = ShowcaseServiceClient::new(edge.clone()).create_showcase(creator.request(request)).await;
    let parent = page.map_err(refused("opening a showcase"))?.into_inner().name;
    let mut pins = Vec::new();
    for sku in skus {
        let request = showcase::CreatePinRequest {
            parent: parent.clone(),
            pin: Some(showcase::Pin { sku, ..Default::default() }),
            request_id: request_id(),
        };
        let pinned = PinServiceClient::new(edge.clone()).create_pin(creator.request(request)).await;
        pins.push(pinned.map_err(refused("pinning a product"))?.into_inner().name);
    }
    Ok(pins)
}
