//! Handoffs: what order will accept, and nothing about anybody.

use std::time::SystemTime;

use sekat_api_showcase::API;
use sekat_api_showcase::v1::handoff_service_client::HandoffServiceClient;
use sekat_api_showcase::v1::{CreateHandoffRequest, DeletePinRequest, Handoff, HandoffItem};
use sekat_identity::handoff::{Good, HandoffClaims};
use sekat_identity::jws::VerifyingKeys;
use sekat_testkit::refused;
use tonic::{Code, Status};

use crate::{CREATOR, Commerce, Stage};

impl Stage {
    async fn hand_off(&self, items: &[(&str, i32)], request_id: &str) -> Result<Handoff, Status> {
        let items = items.iter().map(|(pin, quantity)| HandoffItem { pin: (*pin).to_owned(), quantity: *quantity });
        let request = CreateHandoffRequest { items: items.collect(), request_id: request_id.to_owned() };
        let mut handoffs = HandoffServiceClient::new(self.edge.channel(&API));
        Ok(handoffs.create_handoff(request).await?.into_inner())
    }

    async fn claims(&self, handoff: &Handoff) -> HandoffClaims {
        let keys = VerifyingKeys::open(&self.world.path("trust/showcase-handoff.pem")).await.unwrap();
        HandoffClaims::verify(&keys, &handoff.token, SystemTime::now()).unwrap()
    }
}

#[tokio::test]
async fn a_handoff_verifies_and_names_goods_page_and_campaign_only() {
    let stage = Stage::open().await;
    let commerce = Commerce::open(&stage.world).await;
    let page = stage.open_page(CREATOR, "Pilihan Sari").await.unwrap().name;
    let listing = commerce.offer("Kemeja", &["A", "B"]).await;
    let (a, b) = (&listing.skus[0].sku, &listing.skus[1].sku);
    let first = stage.pin(CREATOR, &page, a, "a").await.unwrap().name;
    let second = stage.pin(CREATOR, &page, b, "b").await.unwrap().name;
    let third = stage.pin(CREATOR, &page, a, "a-again").await.unwrap().name;

    let handoff = stage.hand_off(&[(&first, 2)], "one").await.unwrap();
    let claims = stage.claims(&handoff).await;
    let good = |sku: &String, quantity| Good { product: listing.product.clone(), sku: sku.clone(), quantity };
    let expected = HandoffClaims {
        jti: claims.jti.clone(),
        iat: claims.iat,
        exp: claims.iat + 15 * 60,
        showcase: page.clone(),
        pin: Some(first.clone()),
        campaign: Some("campaigns/beli-lokal-12-12".to_owned()),
        goods: vec![good(a, 2)],
    };
    // The type has no other field, and a token with one does not verify.
    assert_eq!(claims, expected);
    let expire = i64::try_from(claims.exp).unwrap();
    assert_eq!(handoff.expire_time.unwrap().seconds, expire);

    let of_all = stage.hand_off(&[(&first, 2), (&second, 1), (&third, 3)], "all").await.unwrap();
    let claims = stage.claims(&of_all).await;
    assert_eq!((claims.pin.as_ref(), claims.goods), (None, vec![good(a, 5), good(b, 1)]));

    assert_eq!(stage.hand_off(&[(&first, 2)], "one").await.unwrap(), handoff, "a repetition");
    let request = DeletePinRequest { name: first.clone(), request_id: "unpin".to_owned() };
    stage.pins().delete_pin(stage.by(CREATOR, request)).await.unwrap();
    assert_eq!(stage.hand_off(&[(&first, 2)], "one").await.unwrap(), handoff, "a repetition, whatever became of it");
    refused(stage.hand_off(&[(&first, 2)], "two").await, Code::NotFound, "NOT_FOUND");
    refused(stage.hand_off(&[(&second, 2)], "one").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_handoff_that_nobody_could_honour_is_not_signed() {
    let stage = Stage::open().await;
    let commerce = Commerce::open(&stage.world).await;
    let page = stage.open_page(CREATOR, "Pilihan Sari").await.unwrap().name;
    let other = stage.open_page(CREATOR, "Lain").await.unwrap().name;
    let codes: Vec<String> = (10..30).map(|number| format!("{number}{}", "x".repeat(38))).collect();
    let listing = commerce.offer("Kemeja", &codes.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut pins = Vec::new();
    for (index, sku) in listing.skus.iter().enumerate() {
        pins.push(stage.pin(CREATOR, &page, &sku.sku, &format!("pin-{index}")).await.unwrap().name);
    }
    let elsewhere = stage.pin(CREATOR, &other, &listing.skus[0].sku, "elsewhere").await.unwrap().name;
    let pin = pins[0].as_str();
    let all: Vec<_> = pins.iter().map(|pin| (pin.as_str(), 99)).collect();
    let too_many: Vec<_> = std::iter::repeat_n((pin, 1), 21).collect();

    for (index, items) in [
        &[][..],
        &[(pin, 0)],
        &[(pin, 100)],
        &[(pin, -1)],
        &[(pin, 60), (pin, 60)],
        &[(pin, 1), (&elsewhere, 1)],
        &too_many,
        &all,
    ]
    .into_iter()
    .enumerate()
    {
        let status =
            refused(stage.hand_off(items, &format!("bad-{index}")).await, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert!(status.message().starts_with("items"), "{}", status.message());
    }
    stage.hand_off(&all[..10], "fewer").await.unwrap();
}
