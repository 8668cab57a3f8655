//! The merchant service over the mesh, with a real catalog that hears of each registration.
#![cfg(test)]

use sekat_api_catalog::v1::listing_service_client::ListingServiceClient;
use sekat_api_catalog::v1::{CreateListingRequest, Listing, ListingSku};
use sekat_api_google::r#type::Money;
use sekat_api_merchant::API;
use sekat_api_merchant::v1::merchant_service_client::MerchantServiceClient;
use sekat_api_merchant::v1::{
    CreateMerchantRequest, GetMerchantRequest, GetPublicMerchantRequest, Merchant, MerchantState,
};
use sekat_testkit::{Caller, Process, World, eventually, refused, signed_in};
use tonic::{Code, Request, Status};

const SARI: (&str, &str) = ("accounts/sari", "merchants/m-sari");
const BUDI: (&str, &str) = ("accounts/budi", "merchants/m-budi");

async fn start(world: &World) -> Process {
    world.start("merchant", sekat_merchant::Config::read, sekat_merchant::build).await
}

async fn start_catalog(world: &World) -> Process {
    world.start("catalog", sekat_catalog::Config::read, sekat_catalog::build).await
}

async fn register(
    world: &World,
    edge: &Caller,
    (account, merchant): (&str, &str),
    request: CreateMerchantRequest,
) -> Result<Merchant, Status> {
    let request = signed_in(&world.seller(account, merchant), request);
    Ok(MerchantServiceClient::new(edge.channel(&API)).create_merchant(request).await?.into_inner())
}

fn business(nib: &str, request_id: &str) -> CreateMerchantRequest {
    let merchant = Merchant {
        display_name: "Batik Sari".to_owned(),
        city: "Surakarta".to_owned(),
        legal_name: "CV Batik Sari".to_owned(),
        nib: nib.to_owned(),
        npwp: "092542943407000".to_owned(),
        ..Merchant::default()
    };
    CreateMerchantRequest { merchant: Some(merchant), request_id: request_id.to_owned() }
}

/// Waits until catalog lets the shop sell.
async fn until_admitted(world: &World, edge: &Caller, (account, merchant): (&str, &str)) {
    let token = world.seller(account, merchant);
    eventually("the shop is admitted", async || {
        let request = CreateListingRequest {
            parent: merchant.to_owned(),
            listing: Some(listing()),
            request_id: "listing".to_owned(),
        };
        let mut listings = ListingServiceClient::new(edge.channel(&sekat_api_catalog::API));
        listings.create_listing(signed_in(&token, request)).await.is_ok()
    })
    .await;
}

fn listing() -> Listing {
    let sku = ListingSku {
        sku_code: "A-1".to_owned(),
        unit: "pcs".to_owned(),
        price: Some(Money { currency_code: "IDR".to_owned(), units: 25_000, nanos: 0 }),
        ..ListingSku::default()
    };
    Listing { title: "Kemeja batik".to_owned(), category: "Batik".to_owned(), skus: vec![sku], ..Listing::default() }
}

#[tokio::test]
async fn a_business_is_registered_once_by_its_seller() {
    let world = World::new();
    let _merchant = start(&world).await;
    let edge = world.caller("commerce-edge").await;

    let made = register(&world, &edge, SARI, business("1234567890123", "r1")).await.unwrap();
    assert_eq!((made.name.as_str(), made.npwp.as_str()), (SARI.1, "0092542943407000"));
    assert_eq!(made.state(), MerchantState::Active);
    let again = register(&world, &edge, SARI, business("1234567890123", "r1")).await.unwrap();
    assert_eq!(again, made, "a repetition");

    for (who, request, code, reason) in [
        (SARI, business("1234567890124", "r1"), Code::AlreadyExists, "REQUEST_ID_REUSED"),
        (SARI, business("1234567890123", "r2"), Code::AlreadyExists, "MERCHANT_EXISTS"),
        (BUDI, business("1234567890123", "r1"), Code::AlreadyExists, "NIB_TAKEN"),
        (BUDI, business("123", "r1"), Code::InvalidArgument, "INVALID_ARGUMENT"),
        (BUDI, business("1234567890124", ""), Code::InvalidArgument, "INVALID_ARGUMENT"),
    ] {
        refused(register(&world, &edge, who, request).await, code, reason);
    }
    register(&world, &edge, BUDI, business("1234567890124", "r1")).await.expect("another's request id is another");

    let request = signed_in(&world.buyer("accounts/ani"), business("1234567890125", "r1"));
    let by_buyer = MerchantServiceClient::new(edge.channel(&API)).create_merchant(request).await;
    refused(by_buyer, Code::PermissionDenied, "END_USER_SCOPE");
}

#[tokio::test]
async fn its_owner_and_ops_see_all_of_it_and_anyone_the_public_part() {
    let world = World::new();
    let _merchant = start(&world).await;
    let (edge, ops) = (world.caller("commerce-edge").await, world.caller("ops").await);
    let made = register(&world, &edge, SARI, business("1234567890123", "r1")).await.unwrap();

    let get = async |caller: &Caller, token: Option<String>, name: &str| {
        let request = GetMerchantRequest { name: name.to_owned() };
        let request = token.map_or_else(|| Request::new(request.clone()), |token| signed_in(&token, request.clone()));
        MerchantServiceClient::new(caller.channel(&API)).get_merchant(request).await.map(tonic::Response::into_inner)
    };
    assert_eq!(get(&edge, Some(world.seller(SARI.0, SARI.1)), SARI.1).await.unwrap(), made);
    assert_eq!(get(&ops, None, SARI.1).await.unwrap(), made);
    refused(get(&edge, Some(world.seller(BUDI.0, BUDI.1)), SARI.1).await, Code::NotFound, "NOT_FOUND");
    refused(get(&edge, None, SARI.1).await, Code::Unauthenticated, "END_USER_REQUIRED");
    refused(get(&ops, None, BUDI.1).await, Code::NotFound, "NOT_FOUND");
    let stranger = world.caller("order").await;
    refused(get(&stranger, None, SARI.1).await, Code::PermissionDenied, "POLICY_DENIED");

    let request = GetPublicMerchantRequest { name: SARI.1.to_owned() };
    let public = MerchantServiceClient::new(edge.channel(&API)).get_public_merchant(request).await.unwrap();
    assert_eq!(public.into_inner().display_name, "Batik Sari");
}

#[tokio::test]
async fn catalog_admits_a_new_business() {
    let world = World::new();
    let (_merchant, _catalog) = (start(&world).await, start_catalog(&world).await);
    let edge = world.caller("commerce-edge").await;
    register(&world, &edge, SARI, business("1234567890123", "r1")).await.unwrap();
    until_admitted(&world, &edge, SARI).await;
}

#[tokio::test]
async fn catalog_hears_of_it_though_both_were_away() {
    let world = World::new();
    let merchant = start(&world).await;
    let edge = world.caller("commerce-edge").await;
    register(&world, &edge, SARI, business("1234567890123", "r1")).await.unwrap();
    merchant.stop().await;
    let _merchant = start(&world).await;
    let _catalog = start_catalog(&world).await;
    until_admitted(&world, &edge, SARI).await;
}
