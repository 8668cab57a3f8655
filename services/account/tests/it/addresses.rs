//! Addresses: the owner's own, and nobody else's.

use sekat_api_account::API;
use sekat_api_account::v1::address_service_client::AddressServiceClient;
use sekat_api_account::v1::{Address, CreateAddressRequest, GetAddressRequest, ListAddressesRequest, Session};
use sekat_mesh::Channel;
use sekat_testkit::{refused, signed_in, tampered};
use tonic::{Code, Status};

use crate::{Shop, address};

async fn get(mut client: AddressServiceClient<Channel>, by: Option<&Session>, name: &str) -> Result<Address, Status> {
    let request = GetAddressRequest { name: name.to_owned() };
    let request = match by {
        Some(session) => signed_in(&session.access_token, request),
        None => tonic::Request::new(request),
    };
    Ok(client.get_address(request).await?.into_inner())
}

#[tokio::test]
async fn an_address_is_its_owners() {
    let shop = Shop::open().await;
    let (sari, budi) = (shop.buyer("sari").await, shop.buyer("budi").await);
    let made = shop.add_address(&sari, &sari.account, 1).await.unwrap();
    assert_eq!(Address { name: String::new(), ..made.clone() }, address(1));
    assert_eq!(shop.add_address(&sari, &sari.account, 1).await.unwrap(), made, "a repetition");
    refused(shop.add_address(&budi, &sari.account, 2).await, Code::NotFound, "NOT_FOUND");

    assert_eq!(get(shop.addresses(), Some(&sari), &made.name).await.unwrap(), made);
    refused(get(shop.addresses(), Some(&budi), &made.name).await, Code::NotFound, "NOT_FOUND");
    refused(get(shop.addresses(), None, &made.name).await, Code::Unauthenticated, "END_USER_REQUIRED");
    let under_own_name = made.name.replace(&sari.account, &budi.account);
    refused(get(shop.addresses(), Some(&budi), &under_own_name).await, Code::NotFound, "NOT_FOUND");
    let order = AddressServiceClient::new(shop.world.caller("order").await.channel(&API));
    refused(get(order, Some(&sari), &made.name).await, Code::PermissionDenied, "POLICY_DENIED");
}

#[tokio::test]
async fn another_persons_request_id_is_another_request() {
    let shop = Shop::open().await;
    let (sari, budi) = (shop.buyer("sari").await, shop.buyer("budi").await);
    let made = shop.add_address(&sari, &sari.account, 1).await.unwrap();
    let others = shop.add_address(&budi, &budi.account, 1).await.unwrap();
    assert_ne!(made.name, others.name);
    let request = CreateAddressRequest {
        parent: sari.account.clone(),
        address: Some(address(2)),
        request_id: "address-1".to_owned(),
    };
    let reused = shop.addresses().create_address(signed_in(&sari.access_token, request)).await;
    refused(reused, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn addresses_are_listed_in_pages_and_bounded_in_number() {
    let shop = Shop::open().await;
    let (sari, budi) = (shop.buyer("sari").await, shop.buyer("budi").await);
    for number in 1..=20 {
        shop.add_address(&sari, &sari.account, number).await.unwrap();
    }
    let full = shop.add_address(&sari, &sari.account, 21).await;
    refused(full, Code::ResourceExhausted, "TOO_MANY_ADDRESSES");

    let list = async |by: &Session, page_size: i32, page_token: &str| {
        let request = ListAddressesRequest { parent: by.account.clone(), page_size, page_token: page_token.to_owned() };
        let reply = shop.addresses().list_addresses(signed_in(&by.access_token, request)).await;
        reply.map(tonic::Response::into_inner)
    };
    let (mut streets, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = list(&sari, 7, &token).await.unwrap();
        streets.extend(page.addresses.into_iter().map(|address| address.street));
        token = page.next_page_token;
        pages += 1;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((streets.len(), pages), (20, 3));
    assert_eq!(streets, (1..=20).map(|number| address(number).street).collect::<Vec<_>>());
    assert_eq!(list(&sari, 1000, "").await.unwrap().addresses.len(), 20, "an oversized page is coerced");

    let token = list(&sari, 7, "").await.unwrap().next_page_token;
    refused(list(&budi, 7, &token).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    refused(list(&sari, 7, &tampered(&token)).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    refused(list(&sari, -1, "").await, Code::InvalidArgument, "INVALID_ARGUMENT");
    assert!(list(&budi, 7, "").await.unwrap().addresses.is_empty());
}
