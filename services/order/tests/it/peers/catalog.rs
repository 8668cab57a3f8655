//! Prices and stock. Skus are `products/{product}/skus/{sku}`; one that was never offered cannot be had.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sekat_api_catalog::v1 as api;
use sekat_api_catalog::v1::inventory_service_server::{InventoryService, InventoryServiceServer};
use sekat_api_catalog::v1::pricing_service_server::{PricingService, PricingServiceServer};
use sekat_mesh::Routes;
use sekat_mesh::refusal::refuse;
use sekat_money::{Currency, Money};
use tonic::{Code, Request, Response, Status};

use super::{Script, lock};

/// How a reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Held,
    Sold,
    Released,
    Lapsed,
}

#[derive(Default)]
struct Shelf {
    /// By sku: rupiah for one piece, the seller, and the pieces that are neither held nor sold.
    goods: HashMap<String, (i64, String, i32)>,
    reservations: HashMap<String, (Hold, Vec<api::ReservationLine>)>,
}

/// The catalog service.
#[derive(Clone)]
pub(crate) struct Catalog {
    script: Arc<Script>,
    shelf: Arc<Mutex<Shelf>>,
}

impl Catalog {
    pub(crate) fn new(script: &Arc<Script>) -> Self {
        Self { script: Arc::clone(script), shelf: Arc::default() }
    }

    /// Offers a sku, or gives it another price and stock.
    pub(crate) fn offer(&self, sku: &str, rupiah: i64, seller: &str, pieces: i32) {
        lock(&self.shelf).goods.insert(sku.to_owned(), (rupiah, seller.to_owned(), pieces));
    }

    /// The pieces of a sku that are neither held nor sold.
    pub(crate) fn free(&self, sku: &str) -> i32 {
        lock(&self.shelf).goods[sku].2
    }

    /// How all reservations stand.
    pub(crate) fn reservations(&self) -> Vec<Hold> {
        lock(&self.shelf).reservations.values().map(|(hold, _)| *hold).collect()
    }

    /// Lets all that is held lapse.
    pub(crate) fn lapse(&self) {
        let mut shelf = lock(&self.shelf);
        let held: Vec<String> = shelf.held();
        held.iter().for_each(|id| shelf.give_back(id, Hold::Lapsed));
    }

    pub(crate) fn routes(&self) -> Routes {
        Routes::new(PricingServiceServer::new(self.clone())).add_service(InventoryServiceServer::new(self.clone()))
    }
}

impl Shelf {
    fn held(&self) -> Vec<String> {
        self.reservations.iter().filter(|(_, (hold, _))| *hold == Hold::Held).map(|(id, _)| id.clone()).collect()
    }

    fn give_back(&mut self, id: &str, to: Hold) {
        let (hold, lines) = self.reservations.get_mut(id).unwrap();
        *hold = to;
        for line in lines.iter() {
            self.goods.get_mut(&line.sku).unwrap().2 += line.quantity;
        }
    }

    fn hold(&mut self, request: &api::CreateReservationRequest) -> Result<api::Reservation, Status> {
        let id = &request.reservation_id;
        match self.reservations.get(id) {
            Some((Hold::Held, _)) => return Ok(reservation(id)),
            Some(_) => return Err(refuse(Code::FailedPrecondition, "RESERVATION_GONE", "it is over")),
            None => {}
        }
        let has = |line: &api::ReservationLine| self.goods.get(&line.sku).is_some_and(|good| good.2 >= line.quantity);
        if !request.lines.iter().all(has) {
            return Err(refuse(Code::FailedPrecondition, "OUT_OF_STOCK", "sold out"));
        }
        for line in &request.lines {
            self.goods.get_mut(&line.sku).unwrap().2 -= line.quantity;
        }
        self.reservations.insert(id.clone(), (Hold::Held, request.lines.clone()));
        Ok(reservation(id))
    }

    fn sell(&mut self, id: &str) -> Result<api::Reservation, Status> {
        match self.reservations.get_mut(id) {
            Some((hold @ (Hold::Held | Hold::Sold), _)) => {
                *hold = Hold::Sold;
                Ok(reservation(id))
            }
            Some(_) => Err(refuse(Code::FailedPrecondition, "RESERVATION_GONE", "it is over")),
            None => Err(refuse(Code::NotFound, "NOT_FOUND", "no such reservation")),
        }
    }

    fn release(&mut self, id: &str) -> Result<api::Reservation, Status> {
        match self.reservations.get(id) {
            Some((Hold::Sold, _)) => {
                return Err(refuse(Code::FailedPrecondition, "RESERVATION_COMMITTED", "it is sold"));
            }
            Some((Hold::Held, _)) => self.give_back(id, Hold::Released),
            Some(_) => {}
            None => {
                self.reservations.insert(id.to_owned(), (Hold::Released, Vec::new()));
            }
        }
        Ok(reservation(id))
    }

    fn price(&self, line: &api::QuoteLine) -> api::QuotedLine {
        let mut quoted = api::QuotedLine { sku: line.sku.clone(), quantity: line.quantity, ..Default::default() };
        if let Some((rupiah, seller, pieces)) = self.goods.get(&line.sku) {
            let unit = Money::from_units(Currency::Idr, *rupiah).unwrap();
            quoted.title = format!("Title of {}", line.sku);
            quoted.merchant = format!("merchants/{seller}");
            quoted.seller_display_name = format!("Toko {seller}");
            quoted.available = *pieces >= line.quantity;
            quoted.unit_price = quoted.available.then(|| unit.into());
        }
        quoted
    }
}

fn reservation(id: &str) -> api::Reservation {
    api::Reservation { name: format!("reservations/{id}"), ..Default::default() }
}

fn id(name: &str) -> &str {
    name.strip_prefix("reservations/").unwrap()
}

#[tonic::async_trait]
impl PricingService for Catalog {
    async fn quote_prices(
        &self,
        request: Request<api::QuotePricesRequest>,
    ) -> Result<Response<api::QuotePricesResponse>, Status> {
        let price = |request: api::QuotePricesRequest| {
            let shelf = lock(&self.shelf);
            let lines = request.lines.iter().map(|line| shelf.price(line)).collect();
            Ok(api::QuotePricesResponse { lines, total: None })
        };
        self.script.read("QuotePrices", request, price).await
    }
}

#[tonic::async_trait]
impl InventoryService for Catalog {
    async fn create_reservation(
        &self,
        request: Request<api::CreateReservationRequest>,
    ) -> Result<Response<api::Reservation>, Status> {
        let hold = |request| lock(&self.shelf).hold(&request);
        self.script.write("CreateReservation", |request| &request.request_id, request, hold).await
    }

    async fn commit_reservation(
        &self,
        request: Request<api::CommitReservationRequest>,
    ) -> Result<Response<api::Reservation>, Status> {
        let sell = |request: api::CommitReservationRequest| lock(&self.shelf).sell(id(&request.name));
        self.script.write("CommitReservation", |request| &request.request_id, request, sell).await
    }

    async fn release_reservation(
        &self,
        request: Request<api::ReleaseReservationRequest>,
    ) -> Result<Response<api::Reservation>, Status> {
        let release = |request: api::ReleaseReservationRequest| lock(&self.shelf).release(id(&request.name));
        self.script.write("ReleaseReservation", |request| &request.request_id, request, release).await
    }

    async fn update_stock_level(
        &self,
        _: Request<api::UpdateStockLevelRequest>,
    ) -> Result<Response<api::StockLevel>, Status> {
        Err(Status::unimplemented(""))
    }
}
