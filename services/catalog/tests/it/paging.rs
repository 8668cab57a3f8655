//! Lists in pages: each row once, whatever happens in between, and tokens that only continue their own list.

use std::collections::BTreeSet;

use sekat_api_catalog::v1::{ListListingsRequest, ListProductsRequest, Listing};
use sekat_testkit::{refused, tampered};
use tonic::Code;

use crate::imports::codes;
use crate::{BUDI, SARI, Shop, shirt};

#[tokio::test]
async fn a_walk_sees_each_product_once_while_others_are_added() {
    let shop = Shop::open().await;
    for first in [0, 500] {
        shop.import_all(SARI, codes(first..first + 500).iter().map(|code| shirt(&[code], 1)).collect()).await;
    }
    let list = async |page_size: i32, page_token: &str, category: &str| {
        let request =
            ListProductsRequest { page_size, page_token: page_token.to_owned(), category: category.to_owned() };
        shop.products().list_products(request).await.map(tonic::Response::into_inner)
    };
    let (mut seen, mut token, mut added) = (Vec::new(), String::new(), BTreeSet::new());
    loop {
        let page = list(100, &token, "Fashion").await.unwrap();
        assert!(page.products.len() <= 100);
        seen.extend(page.products.into_iter().map(|product| product.name));
        let new = shop.offer(BUDI, shirt(&[&format!("new-{}", seen.len())], 1)).await.unwrap();
        added.insert(new.product);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let before: Vec<_> = seen.iter().filter(|name| !added.contains(*name)).collect();
    assert_eq!((before.len(), before.iter().collect::<BTreeSet<_>>().len()), (1000, 1000));

    let token = list(10, "", "Fashion").await.unwrap().next_page_token;
    assert_eq!(list(1000, "", "").await.unwrap().products.len(), 100, "an oversized page is coerced");
    assert_eq!(list(0, "", "").await.unwrap().products.len(), 20);
    assert!(list(10, "", "Fash").await.unwrap().products.is_empty(), "a category is not a prefix");
    let changed = tampered(&token);
    for (page_size, token, category) in
        [(10, changed.as_str(), "Fashion"), (10, &token, "Fashion/Batik"), (10, "x", "Fashion"), (-1, "", "")]
    {
        refused(list(page_size, token, category).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    }
    let request = ListListingsRequest { parent: SARI.to_owned(), page_size: 10, page_token: token };
    let of_another_list = shop.listings().list_listings(shop.by(SARI, request)).await;
    refused(of_another_list, Code::InvalidArgument, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn a_page_of_large_products_ends_before_it_is_too_large_for_a_message() {
    let shop = Shop::open().await;
    let rows: Vec<Listing> =
        codes(0..100).iter().map(|code| Listing { description: "batik ".repeat(660), ..shirt(&[code], 1) }).collect();
    for rows in rows.chunks(50) {
        shop.import_all(SARI, rows.to_vec()).await;
    }
    let (mut seen, mut token) = (0, String::new());
    loop {
        let request =
            ListListingsRequest { parent: SARI.to_owned(), page_size: 100, page_token: std::mem::take(&mut token) };
        let page = shop.listings().list_listings(shop.by(SARI, request)).await.unwrap().into_inner();
        assert!(prost::Message::encoded_len(&page) <= sekat_mesh::MESSAGE_BYTES);
        seen += page.listings.len();
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, 100);
}
