//! Filling an empty shop, the way that sellers and creators would: they sign up, register, import, pin.

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sekat_api_account::v1 as account;
use sekat_api_account::v1::account_service_client::AccountServiceClient;
use sekat_api_account::v1::session_service_client::SessionServiceClient;
use sekat_api_catalog::v1 as catalog;
use sekat_api_catalog::v1::listing_service_client::ListingServiceClient;
use sekat_api_catalog::v1::product_service_client::ProductServiceClient;
use sekat_api_merchant::v1 as merchant;
use sekat_api_merchant::v1::merchant_service_client::MerchantServiceClient;
use sekat_api_showcase::v1 as showcase;
use sekat_api_showcase::v1::pin_service_client::PinServiceClient;
use sekat_api_showcase::v1::showcase_service_client::ShowcaseServiceClient;
use sekat_money::{Currency, Money};
use tonic::Code;
use tonic::transport::Channel;

use crate::edges::{Caller, public_channel, refused, request_id};
use crate::layout::Running;

const PRODUCTS: &str = include_str!("../../../../seed/products.tsv");
const SHOWCASES: &str = include_str!("../../../../seed/showcases.tsv");

/// Sellers that are seeded at the same time: as many as cores hash passwords.
const AT_ONCE: usize = 4;
/// How often the state of an import is asked for.
const POLL: Duration = Duration::from_millis(10);
/// After this the shop is taken to be stuck.
const LIMIT: Duration = Duration::from_secs(120);
/// The password of the invented sellers and creators; they live on this machine only.
const PASSWORD: &str = "correct-horse-battery";

/// Seeds the shop if it has no product.
pub(crate) async fn seed_if_empty(running: &Running) -> anyhow::Result<()> {
    let shop = Shop {
        showcase: public_channel(&running.showcase_edge, &running.web_authority)?,
        commerce: public_channel(&running.commerce_edge, &running.web_authority)?,
    };
    if shop.has_showcases().await? {
        return Ok(());
    }
    tokio::time::timeout(LIMIT, shop.seed())
        .await
        .with_context(|| format!("the shop was not seeded within {} s: look at the logs", LIMIT.as_secs()))?
}

struct Shop {
    showcase: Channel,
    commerce: Channel,
}

impl Shop {
    /// The showcases are seeded last, so that a shop that has them is complete.
    async fn has_showcases(&self) -> anyhow::Result<bool> {
        let request = showcase::ListShowcasesRequest { page_size: 100, ..Default::default() };
        let list = ShowcaseServiceClient::new(self.showcase.clone())
            .list_showcases(Caller::default().request(request)?)
            .await
            .map_err(|status| refused("looking at the showcases", &status))?;
        Ok(list.into_inner().showcases.len() >= rows(SHOWCASES).count())
    }

    async fn seed(&self) -> anyhow::Result<()> {
        let sellers = sellers()?;
        let total: usize = sellers.values().map(|seller| seller.listings.len()).sum();
        let bar = progress(u64::try_from(total)?)?;
        stream::iter(sellers.iter().enumerate().map(anyhow::Ok))
            .try_for_each_concurrent(AT_ONCE, |(index, (handle, seller))| {
                let bar = &bar;
                async move {
                    self.open_shop(index, handle, seller)
                        .await
                        .with_context(|| format!("seeding the seller {handle}"))?;
                    bar.inc(u64::try_from(seller.listings.len())?);
                    Ok(())
                }
            })
            .await?;
        bar.set_message("showcases");
        let skus = self.skus_by_code(&sellers).await?;
        for row in rows(SHOWCASES) {
            self.open_showcase(&row?, &skus).await?;
        }
        bar.finish_with_message("seeded");
        Ok(())
    }

    async fn sign_in(
        &self,
        handle: &str,
        name: &str,
        scope: account::SessionScope,
    ) -> anyhow::Result<account::Session> {
        let email = format!("{handle}@penjual.example");
        let creator_handle =
            if scope == account::SessionScope::Creator { handle.replace('-', "_") } else { String::new() };
        let person = account::Account {
            display_name: name.to_owned(),
            email: email.clone(),
            creator_handle,
            ..Default::default()
        };
        let request = account::CreateAccountRequest {
            account: Some(person),
            password: PASSWORD.to_owned(),
            // The same after a crash: a seeding that was interrupted goes on.
            request_id: format!("seed-account-{handle}"),
        };
        AccountServiceClient::new(self.commerce.clone())
            .create_account(Caller::default().request(request)?)
            .await
            .map_err(|status| refused("signing up", &status))?;
        let request = account::CreateSessionRequest {
            email,
            password: PASSWORD.to_owned(),
            scope: scope.into(),
            request_id: request_id(),
        };
        let session = SessionServiceClient::new(self.commerce.clone())
            .create_session(Caller::default().request(request)?)
            .await
            .map_err(|status| refused("signing in", &status))?;
        Ok(session.into_inner())
    }

    async fn open_shop(&self, index: usize, handle: &str, seller: &Seller) -> anyhow::Result<()> {
        let session = self.sign_in(handle, &seller.name, account::SessionScope::Seller).await?;
        let caller = Caller::default().signed_in(&session.access_token);
        let business = merchant::Merchant {
            display_name: seller.name.clone(),
            city: seller.city.clone(),
            legal_name: format!("CV {}", seller.name),
            nib: format!("91200{index:08}"),
            npwp: format!("09254{index:011}"),
            ..Default::default()
        };
        let request =
            merchant::CreateMerchantRequest { merchant: Some(business), request_id: format!("seed-merchant-{handle}") };
        MerchantServiceClient::new(self.commerce.clone())
            .create_merchant(caller.request(request)?)
            .await
            .map_err(|status| refused("registering", &status))?;
        self.import(&caller, &session.merchant, handle, seller).await
    }

    async fn import(&self, caller: &Caller, shop: &str, handle: &str, seller: &Seller) -> anyhow::Result<()> {
        let mut listings = ListingServiceClient::new(self.commerce.clone());
        let request = catalog::ImportListingsRequest {
            parent: shop.to_owned(),
            listings: seller.listings.clone(),
            request_id: format!("seed-import-{handle}"),
        };
        let mut interval = tokio::time::interval(POLL);
        let operation = loop {
            interval.tick().await;
            match listings.import_listings(caller.request(request.clone())?).await {
                Ok(operation) => break operation.into_inner(),
                // Catalog has not been told of the merchant yet.
                Err(status) if status.code() == Code::FailedPrecondition => {}
                Err(status) => return Err(refused("importing", &status)),
            }
        };
        loop {
            interval.tick().await;
            let request = catalog::GetImportListingsOperationRequest { name: operation.name.clone() };
            let now = listings
                .get_import_listings_operation(caller.request(request)?)
                .await
                .map_err(|status| refused("asking for the import", &status))?
                .into_inner();
            if let Some(error) = now.errors.first() {
                bail!("row {} of {handle} was refused: {} ({})", error.row, error.message, error.reason);
            }
            if now.state() == catalog::State::Succeeded {
                return Ok(());
            }
        }
    }

    /// The names of all skus by the codes of the seed.
    async fn skus_by_code(&self, sellers: &BTreeMap<String, Seller>) -> anyhow::Result<HashMap<String, String>> {
        let mut products = ProductServiceClient::new(self.commerce.clone());
        let mut skus = HashMap::new();
        let mut page_token = String::new();
        loop {
            let request = catalog::ListProductsRequest { page_size: 100, page_token, ..Default::default() };
            let page = products
                .list_products(Caller::default().request(request)?)
                .await
                .map_err(|status| refused("listing products", &status))?
                .into_inner();
            for sku in page.products.into_iter().flat_map(|product| product.skus) {
                if let Some((_, code)) = sku.name.rsplit_once('/') {
                    skus.insert(code.to_owned(), sku.name.clone());
                }
            }
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
        let expected: usize = sellers.values().map(|seller| seller.listings.len()).sum();
        if skus.len() < expected {
            bail!("{} of {expected} products are in the catalog", skus.len());
        }
        Ok(skus)
    }

    async fn open_showcase(&self, row: &Row<'_>, skus: &HashMap<String, String>) -> anyhow::Result<()> {
        let (creator, name) = (row.get("creator")?, row.get("display_name")?);
        let session = self.sign_in(creator, name, account::SessionScope::Creator).await?;
        let caller = Caller::default().signed_in(&session.access_token);
        let page = showcase::Showcase {
            display_name: name.to_owned(),
            campaign: row.get("campaign")?.to_owned(),
            ..Default::default()
        };
        let request =
            showcase::CreateShowcaseRequest { showcase: Some(page), request_id: format!("seed-showcase-{creator}") };
        let page = ShowcaseServiceClient::new(self.showcase.clone())
            .create_showcase(caller.request(request)?)
            .await
            .map_err(|status| refused("opening a showcase", &status))?
            .into_inner();
        let caller = &caller;
        stream::iter(row.get("pins")?.split(','))
            .then(|code| {
                let sku = skus.get(code).cloned();
                let parent = page.name.clone();
                async move {
                    let sku = sku.with_context(|| format!("no product has the sku code {code}"))?;
                    let request = showcase::CreatePinRequest {
                        parent,
                        pin: Some(showcase::Pin { sku, ..Default::default() }),
                        request_id: format!("seed-pin-{creator}-{code}"),
                    };
                    PinServiceClient::new(self.showcase.clone())
                        .create_pin(caller.request(request)?)
                        .await
                        .map_err(|status| refused("pinning a product", &status))
                        .map(drop)
                }
            })
            .try_collect()
            .await
    }
}

struct Seller {
    name: String,
    city: String,
    listings: Vec<catalog::Listing>,
}

fn sellers() -> anyhow::Result<BTreeMap<String, Seller>> {
    let mut sellers: BTreeMap<String, Seller> = BTreeMap::new();
    for row in rows(PRODUCTS) {
        let row = row?;
        let seller = sellers.entry(row.get("seller")?.to_owned()).or_insert(Seller {
            name: row.get("seller_name")?.to_owned(),
            city: row.get("city")?.to_owned(),
            listings: Vec::new(),
        });
        seller.listings.push(listing(&row)?);
    }
    Ok(sellers)
}

fn listing(row: &Row<'_>) -> anyhow::Result<catalog::Listing> {
    let price = Money::from_units(Currency::Idr, row.get("price_rupiah")?.parse()?)?;
    let attributes = row.get("attributes")?.split(';').filter_map(|pair| pair.split_once('='));
    let sku = catalog::ListingSku {
        sku_code: row.get("sku")?.to_owned(),
        unit: row.get("unit")?.to_owned(),
        weight_grams: row.get("weight_grams")?.parse()?,
        price: Some(price.into()),
        on_hand: row.get("stock")?.parse()?,
        ..Default::default()
    };
    Ok(catalog::Listing {
        title: row.get("title")?.to_owned(),
        description: row.get("description")?.to_owned(),
        category: row.get("category")?.replace(" > ", "/"),
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        skus: vec![sku],
        ..Default::default()
    })
}

/// One line of a seed file.
struct Row<'a> {
    line: usize,
    values: HashMap<&'a str, &'a str>,
}

impl<'a> Row<'a> {
    fn get(&self, column: &str) -> anyhow::Result<&'a str> {
        self.values.get(column).copied().with_context(|| format!("line {} has no {column}", self.line))
    }
}

fn rows(text: &str) -> impl Iterator<Item = anyhow::Result<Row<'_>>> {
    let columns: Vec<&str> = text.lines().next().unwrap_or_default().split('\t').collect();
    text.lines().enumerate().skip(1).map(move |(index, line)| {
        let values: Vec<&str> = line.split('\t').collect();
        if values.len() != columns.len() {
            bail!("line {} of the seed has {} columns instead of {}", index + 1, values.len(), columns.len());
        }
        Ok(Row { line: index + 1, values: columns.iter().copied().zip(values).collect() })
    })
}

fn progress(total: u64) -> anyhow::Result<ProgressBar> {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    bar.set_style(ProgressStyle::with_template("seeding {bar:30} {pos}/{len} products {msg}")?);
    if bar.is_hidden() {
        anstream::eprintln!("seeding {total} products");
    }
    Ok(bar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_readable_and_large_enough() {
        let sellers = sellers().unwrap();
        let products: usize = sellers.values().map(|seller| seller.listings.len()).sum();
        assert!(products >= 1000, "{products}");
        let mut codes: Vec<_> =
            sellers.values().flat_map(|seller| &seller.listings).flat_map(|listing| &listing.skus).collect();
        codes.sort_by(|left, right| left.sku_code.cmp(&right.sku_code));
        codes.dedup_by(|left, right| left.sku_code == right.sku_code);
        assert_eq!(codes.len(), products);
    }
}
