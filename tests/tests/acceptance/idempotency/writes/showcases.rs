//! A creator's page.

use acceptance::eventually;
use acceptance::shop::{request, request_id};
use sekat_api_showcase::v1 as showcase;
use sekat_api_showcase::v1::handoff_service_client::HandoffServiceClient;
use sekat_api_showcase::v1::pin_service_client::PinServiceClient;
use sekat_api_showcase::v1::showcase_service_client::ShowcaseServiceClient;

use super::{World, Write};

impl World {
    /// Opens the creator's page and pins the first two things of the shop.
    pub(super) async fn open_page(&mut self) {
        let token = Some(self.creator.token());
        let page = showcase::Showcase { display_name: "Pilihan".to_owned(), ..Default::default() };
        let opening = showcase::CreateShowcaseRequest { showcase: Some(page), request_id: request_id() };
        self.page = ShowcaseServiceClient::new(self.showcase.clone())
            .create_showcase(request(token, opening))
            .await
            .expect("a page")
            .into_inner()
            .name;
        for (sku, note) in self.shop.skus.iter().zip(["first", "second"]) {
            let pinning = showcase::CreatePinRequest {
                parent: self.page.clone(),
                pin: Some(showcase::Pin { sku: sku.clone(), note: note.to_owned(), ..Default::default() }),
                request_id: request_id(),
            };
            let mut pins = PinServiceClient::new(self.showcase.clone());
            let pin = eventually("the feed has brought the product", async || {
                pins.create_pin(request(token, pinning.clone())).await.ok()
            });
            self.pins.push(pin.await.into_inner().name);
        }
    }

    /// The token of a handoff of the first pin.
    pub(super) async fn handoff(&self) -> String {
        let items = vec![showcase::HandoffItem { pin: self.pins[0].clone(), quantity: 1 }];
        HandoffServiceClient::new(self.showcase.clone())
            .create_handoff(request(None, showcase::CreateHandoffRequest { items, request_id: request_id() }))
            .await
            .expect("a handoff")
            .into_inner()
            .token
    }

    pub(super) fn showcases(&self) -> Vec<Write> {
        let page = |title: &str| showcase::CreateShowcaseRequest {
            showcase: Some(showcase::Showcase { display_name: title.to_owned(), ..Default::default() }),
            request_id: "create-showcase".to_owned(),
        };
        let create_showcase = self.creator(
            "/sekat.showcase.v1.ShowcaseService/CreateShowcase",
            &page("Kopi pagi"),
            &page("Teh sore"),
            ("showcase", "SELECT COUNT(*) FROM showcases"),
        );
        let pin = |note: &str| showcase::CreatePinRequest {
            parent: self.page.clone(),
            pin: Some(showcase::Pin { sku: self.shop.skus[2].clone(), note: note.to_owned(), ..Default::default() }),
            request_id: "create-pin".to_owned(),
        };
        let create_pin = self.creator(
            "/sekat.showcase.v1.PinService/CreatePin",
            &pin("third"),
            &pin("last"),
            ("showcase", "SELECT COUNT(*) FROM pins"),
        );
        let handoff = |quantity: i32| showcase::CreateHandoffRequest {
            items: vec![showcase::HandoffItem { pin: self.pins[0].clone(), quantity }],
            request_id: "create-handoff".to_owned(),
        };
        let create_handoff = Write {
            token: None,
            stranger: None,
            ..self.creator(
                "/sekat.showcase.v1.HandoffService/CreateHandoff",
                &handoff(1),
                &handoff(2),
                ("showcase", "SELECT COUNT(*) FROM request_ids WHERE method LIKE '%/CreateHandoff'"),
            )
        };
        let order = |pins: [usize; 2]| showcase::ReorderPinsRequest {
            parent: self.page.clone(),
            pins: pins.map(|index| self.pins[index].clone()).to_vec(),
            request_id: "reorder-pins".to_owned(),
        };
        let reorder_pins = self.creator(
            "/sekat.showcase.v1.PinService/ReorderPins",
            &order([1, 0]),
            &order([0, 1]),
            (
                "showcase",
                "SELECT COUNT(*) FROM pins a JOIN pins b ON a.showcase = b.showcase
                 WHERE a.note = 'first' AND b.note = 'second' AND a.rank > b.rank",
            ),
        );
        let removal = |index: usize| showcase::DeletePinRequest {
            name: self.pins[index].clone(),
            request_id: "delete-pin".to_owned(),
        };
        let delete_pin = self.creator(
            "/sekat.showcase.v1.PinService/DeletePin",
            &removal(0),
            &removal(1),
            ("showcase", "SELECT -COUNT(*) FROM pins"),
        );
        vec![create_showcase, create_handoff, reorder_pins, create_pin, delete_pin]
    }
}
