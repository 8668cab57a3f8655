//! Parse, call, map: no rules and no SQL.

use std::sync::Arc;

use sekat_api_catalog::v1::inventory_service_server::InventoryService;
use sekat_api_catalog::v1::listing_gate_service_server::ListingGateService;
use sekat_api_catalog::v1::listing_service_server::ListingService;
use sekat_api_catalog::v1::pricing_service_server::PricingService;
use sekat_api_catalog::v1::product_service_server::ProductService;
use sekat_api_catalog::v1::{self as api};
use sekat_mesh::Permit;
use sekat_store::Store;
use tonic::{Request, Response, Status};

use crate::feed::News;
use crate::{gate, import, listing, product, quote, reservation, stock};

/// What all methods work with.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) feed: News,
    /// The public name of the marketplace's operator.
    pub(crate) operator: String,
}

/// The services of the mesh port.
#[derive(Clone)]
pub(crate) struct Catalog(pub(crate) Arc<State>);

#[tonic::async_trait]
impl ProductService for Catalog {
    async fn get_product(&self, request: Request<api::GetProductRequest>) -> Result<Response<api::Product>, Status> {
        Permit::of(&request)?;
        Ok(Response::new(product::get(&self.0, request.into_inner()).await?))
    }

    async fn batch_get_products(
        &self,
        request: Request<api::BatchGetProductsRequest>,
    ) -> Result<Response<api::BatchGetProductsResponse>, Status> {
        Permit::of(&request)?;
        Ok(Response::new(product::batch_get(&self.0, request.into_inner()).await?))
    }

    async fn list_products(
        &self,
        request: Request<api::ListProductsRequest>,
    ) -> Result<Response<api::ListProductsResponse>, Status> {
        Permit::of(&request)?;
        Ok(Response::new(product::list(&self.0, request.into_inner()).await?))
    }

    async fn search_products(
        &self,
        request: Request<api::SearchProductsRequest>,
    ) -> Result<Response<api::SearchProductsResponse>, Status> {
        Permit::of(&request)?;
        Ok(Response::new(product::search(&self.0, request.into_inner()).await?))
    }
}

#[tonic::async_trait]
impl ListingService for Catalog {
    async fn create_listing(
        &self,
        request: Request<api::CreateListingRequest>,
    ) -> Result<Response<api::Listing>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(listing::create(&self.0, &permit, request.into_inner()).await?))
    }

    async fn get_listing(&self, request: Request<api::GetListingRequest>) -> Result<Response<api::Listing>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(listing::get(&self.0, &permit, request.into_inner()).await?))
    }

    async fn list_listings(
        &self,
        request: Request<api::ListListingsRequest>,
    ) -> Result<Response<api::ListListingsResponse>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(listing::list(&self.0, &permit, request.into_inner()).await?))
    }

    async fn update_listing(
        &self,
        request: Request<api::UpdateListingRequest>,
    ) -> Result<Response<api::Listing>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(listing::update(&self.0, &permit, request.into_inner()).await?))
    }

    async fn delete_listing(&self, request: Request<api::DeleteListingRequest>) -> Result<Response<()>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(listing::delete(&self.0, &permit, request.into_inner()).await?))
    }

    async fn import_listings(
        &self,
        request: Request<api::ImportListingsRequest>,
    ) -> Result<Response<api::ImportListingsOperation>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(import::start(&self.0, &permit, request.into_inner()).await?))
    }

    async fn get_import_listings_operation(
        &self,
        request: Request<api::GetImportListingsOperationRequest>,
    ) -> Result<Response<api::ImportListingsOperation>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(import::get(&self.0, &permit, request.into_inner()).await?))
    }

    async fn cancel_import_listings_operation(
        &self,
        request: Request<api::CancelImportListingsOperationRequest>,
    ) -> Result<Response<api::ImportListingsOperation>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(import::cancel(&self.0, &permit, request.into_inner()).await?))
    }
}

#[tonic::async_trait]
impl ListingGateService for Catalog {
    async fn set_merchant_listing_state(
        &self,
        request: Request<api::SetMerchantListingStateRequest>,
    ) -> Result<Response<api::MerchantListingState>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(gate::set(&self.0, &permit, request.into_inner()).await?))
    }
}

#[tonic::async_trait]
impl PricingService for Catalog {
    async fn quote_prices(
        &self,
        request: Request<api::QuotePricesRequest>,
    ) -> Result<Response<api::QuotePricesResponse>, Status> {
        Permit::of(&request)?;
        Ok(Response::new(quote::quote(&self.0, request.into_inner()).await?))
    }
}

#[tonic::async_trait]
impl InventoryService for Catalog {
    async fn create_reservation(
        &self,
        request: Request<api::CreateReservationRequest>,
    ) -> Result<Response<api::Reservation>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(reservation::create(&self.0, &permit, request.into_inner()).await?))
    }

    async fn commit_reservation(
        &self,
        request: Request<api::CommitReservationRequest>,
    ) -> Result<Response<api::Reservation>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(reservation::commit(&self.0, &permit, request.into_inner()).await?))
    }

    async fn release_reservation(
        &self,
        request: Request<api::ReleaseReservationRequest>,
    ) -> Result<Response<api::Reservation>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(reservation::release(&self.0, &permit, request.into_inner()).await?))
    }

    async fn update_stock_level(
        &self,
        request: Request<api::UpdateStockLevelRequest>,
    ) -> Result<Response<api::StockLevel>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(stock::update(&self.0, &permit, request.into_inner()).await?))
    }
}
