//! Pages and pins: the creator's own, in the creator's order, once.

use sekat_api_showcase::v1::{
    CreateShowcaseRequest, DeletePinRequest, ListPinsRequest, ListShowcasesRequest, ReorderPinsRequest, Showcase,
    StockStatus,
};
use sekat_testkit::{refused, signed_in};
use tonic::{Code, Status};

use crate::{CREATOR, Commerce, SELLER, Stage};

impl Stage {
    async fn reorder(&self, handle: &str, page: &str, pins: &[String], id: &str) -> Result<Vec<String>, Status> {
        let request = ReorderPinsRequest { parent: page.to_owned(), pins: pins.to_vec(), request_id: id.to_owned() };
        let reply = self.pins().reorder_pins(self.by(handle, request)).await?.into_inner();
        Ok(reply.pins.into_iter().map(|pin| pin.name).collect())
    }

    async fn unpin(&self, handle: &str, pin: &str, id: &str) -> Result<(), Status> {
        let request = DeletePinRequest { name: pin.to_owned(), request_id: id.to_owned() };
        self.pins().delete_pin(self.by(handle, request)).await.map(drop)
    }
}

#[tokio::test]
async fn a_page_is_opened_pinned_ordered_and_cleared_once() {
    let stage = Stage::open().await;
    let commerce = Commerce::open(&stage.world).await;
    let page = stage.open_page(CREATOR, "Pilihan Sari").await.unwrap();
    assert_eq!(stage.open_page(CREATOR, "Pilihan Sari").await.unwrap(), page, "a repetition");
    assert_eq!(page.creator_handle, CREATOR);
    assert!(!page.operator_display_name.is_empty());

    let mut pins = Vec::new();
    for code in ["A", "B", "C"] {
        let listing = commerce.offer(&format!("Kemeja {code}"), &[code]).await;
        let pin = stage.pin(CREATOR, &page.name, &listing.skus[0].sku, code).await.unwrap();
        let again = stage.pin(CREATOR, &page.name, &listing.skus[0].sku, code).await.unwrap();
        assert_eq!(again, pin, "a repetition");
        assert_eq!((pin.title.as_str(), pin.note.as_str()), (listing.title.as_str(), "Suka sekali."));
        assert_eq!((pin.stock_status(), pin.seller_display_name.as_str()), (StockStatus::InStock, "Batik Sari"));
        assert!(!pin.operator_display_name.is_empty());
        pins.push(pin.name);
    }
    let shown = async || {
        let page = stage.page(&page.name).await.unwrap();
        page.pins.into_iter().map(|pin| (pin.rank, pin.name)).collect::<Vec<_>>()
    };
    let ranked = |pins: &[String]| (1..).zip(pins.iter().cloned()).collect::<Vec<_>>();
    assert_eq!(shown().await, ranked(&pins));

    pins.rotate_right(1);
    assert_eq!(stage.reorder(CREATOR, &page.name, &pins, "order").await.unwrap(), pins);
    assert_eq!(stage.reorder(CREATOR, &page.name, &pins, "order").await.unwrap(), pins);
    assert_eq!(shown().await, ranked(&pins));
    let twice = [pins[0].clone(), pins[0].clone(), pins[1].clone()];
    for wrong in [&pins[1..], &twice, &[]] {
        refused(stage.reorder(CREATOR, &page.name, wrong, "wrong").await, Code::Aborted, "PINS_CHANGED");
    }

    let gone = pins.remove(1);
    stage.unpin(CREATOR, &gone, "unpin").await.unwrap();
    stage.unpin(CREATOR, &gone, "unpin").await.expect("a repetition");
    refused(stage.unpin(CREATOR, &gone, "again").await, Code::NotFound, "NOT_FOUND");
    assert_eq!(shown().await, ranked(&pins), "the ranks close up");
}

#[tokio::test]
async fn a_page_is_its_creators_alone() {
    let stage = Stage::open().await;
    let commerce = Commerce::open(&stage.world).await;
    let page = stage.open_page(CREATOR, "Pilihan Sari").await.unwrap();
    let listing = commerce.offer("Kemeja", &["A"]).await;
    let sku = &listing.skus[0].sku;
    let pin = stage.pin(CREATOR, &page.name, sku, "pin").await.unwrap();

    let denied = (Code::PermissionDenied, "NOT_OWNER");
    refused(stage.pin("kopi.budi", &page.name, sku, "pin").await, denied.0, denied.1);
    let order = stage.reorder("kopi.budi", &page.name, std::slice::from_ref(&pin.name), "order").await;
    refused(order, denied.0, denied.1);
    refused(stage.unpin("kopi.budi", &pin.name, "unpin").await, denied.0, denied.1);

    // A token of commerce is none here, whoever's it is; and a showcase's is none there.
    let request = CreateShowcaseRequest { showcase: Some(Showcase::default()), request_id: "x".to_owned() };
    for token in [stage.world.seller(SELLER.0, SELLER.1), stage.world.buyer("accounts/ani")] {
        let by_commerce = stage.pages().create_showcase(signed_in(&token, request.clone())).await;
        refused(by_commerce, Code::Unauthenticated, "END_USER_TOKEN");
    }
    refused(stage.pages().create_showcase(request).await, Code::Unauthenticated, "END_USER_REQUIRED");
    assert_eq!(stage.page(&page.name).await.unwrap().pins.len(), 1);
}

#[tokio::test]
async fn what_is_not_offered_is_not_pinned() {
    let stage = Stage::open().await;
    let commerce = Commerce::open(&stage.world).await;
    let page = stage.open_page(CREATOR, "Pilihan Sari").await.unwrap();
    let listing = commerce.offer("Kemeja", &["A"]).await;
    for (sku, code, reason) in [
        ("products/none/skus/A", Code::NotFound, "NOT_FOUND"),
        (&format!("{}/skus/B", listing.product), Code::NotFound, "NOT_FOUND"),
        ("merchants/sari", Code::InvalidArgument, "INVALID_ARGUMENT"),
    ] {
        refused(stage.pin(CREATOR, &page.name, sku, "pin").await, code, reason);
    }
    let nowhere = stage.pin(CREATOR, "showcases/none", &listing.skus[0].sku, "pin").await;
    refused(nowhere, Code::NotFound, "NOT_FOUND");
    refused(stage.page("showcases/none").await, Code::NotFound, "NOT_FOUND");
    refused(stage.open_page(CREATOR, "").await, Code::InvalidArgument, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn pages_and_pins_are_listed_in_pages() {
    let stage = Stage::open().await;
    let commerce = Commerce::open(&stage.world).await;
    let mut opened = Vec::new();
    for number in 0..5 {
        opened.push(stage.open_page(CREATOR, &format!("Halaman-{number}")).await.unwrap().name);
    }
    let listing = commerce.offer("Kemeja", &["A"]).await;
    let mut pinned = Vec::new();
    for number in 0..5 {
        let pin = stage.pin(CREATOR, &opened[0], &listing.skus[0].sku, &format!("pin-{number}")).await.unwrap();
        pinned.push((pin.rank, pin.name));
    }

    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let request = ListShowcasesRequest { page_size: 2, page_token: std::mem::take(&mut token) };
        let page = stage.pages().list_showcases(request).await.unwrap().into_inner();
        assert!(page.showcases.iter().all(|showcase| showcase.pins.is_empty()));
        names.extend(page.showcases.into_iter().map(|showcase| showcase.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names, opened);

    let list = async |parent: &str, page_token: String| {
        let request = ListPinsRequest { parent: parent.to_owned(), page_size: 2, page_token };
        stage.pins().list_pins(request).await.map(tonic::Response::into_inner)
    };
    let (mut pins, mut token) = (Vec::new(), String::new());
    loop {
        let page = list(&opened[0], std::mem::take(&mut token)).await.unwrap();
        pins.extend(page.pins.into_iter().map(|pin| (pin.rank, pin.name)));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pins, pinned);
    let token = list(&opened[0], String::new()).await.unwrap().next_page_token;
    refused(list(&opened[1], token).await, Code::InvalidArgument, "INVALID_ARGUMENT");
}
