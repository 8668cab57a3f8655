//! Parse, call, map: no rules and no SQL.

use std::sync::Arc;

use sekat_api_feed::v1::product_feed_service_client::ProductFeedServiceClient;
use sekat_api_showcase::v1::handoff_service_server::HandoffService;
use sekat_api_showcase::v1::pin_service_server::PinService;
use sekat_api_showcase::v1::showcase_service_server::ShowcaseService;
use sekat_api_showcase::v1::{self as api};
use sekat_identity::jws::SigningKey;
use sekat_mesh::{Channel, Permit};
use sekat_store::Store;
use tonic::{Request, Response, Status};

use crate::follow_feed::Freshness;
use crate::{create_handoff, pin, showcase};

/// What all methods work with.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) feed: ProductFeedServiceClient<Channel>,
    pub(crate) freshness: Freshness,
    /// The public name of the showcase's operator.
    pub(crate) operator: String,
}

/// The three services of the package.
#[derive(Clone)]
pub(crate) struct Showcases(pub(crate) Arc<State>);

#[tonic::async_trait]
impl ShowcaseService for Showcases {
    async fn get_showcase(&self, request: Request<api::GetShowcaseRequest>) -> Result<Response<api::Showcase>, Status> {
        Permit::of(&request)?;
        Ok(Response::new(showcase::get(&self.0, request.into_inner()).await?))
    }

    async fn list_showcases(
        &self,
        request: Request<api::ListShowcasesRequest>,
    ) -> Result<Response<api::ListShowcasesResponse>, Status> {
        Permit::of(&request)?;
        Ok(Response::new(showcase::list(&self.0, request.into_inner()).await?))
    }

    async fn create_showcase(
        &self,
        request: Request<api::CreateShowcaseRequest>,
    ) -> Result<Response<api::Showcase>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(showcase::create(&self.0, &permit, request.into_inner()).await?))
    }
}

#[tonic::async_trait]
impl PinService for Showcases {
    async fn create_pin(&self, request: Request<api::CreatePinRequest>) -> Result<Response<api::Pin>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(pin::create(&self.0, &permit, request.into_inner()).await?))
    }

    async fn list_pins(
        &self,
        request: Request<api::ListPinsRequest>,
    ) -> Result<Response<api::ListPinsResponse>, Status> {
        Permit::of(&request)?;
        Ok(Response::new(pin::list(&self.0, request.into_inner()).await?))
    }

    async fn reorder_pins(
        &self,
        request: Request<api::ReorderPinsRequest>,
    ) -> Result<Response<api::ReorderPinsResponse>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(pin::reorder(&self.0, &permit, request.into_inner()).await?))
    }

    async fn delete_pin(&self, request: Request<api::DeletePinRequest>) -> Result<Response<()>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(pin::delete(&self.0, &permit, request.into_inner()).await?))
    }
}

#[tonic::async_trait]
impl HandoffService for Showcases {
    async fn create_handoff(
        &self,
        request: Request<api::CreateHandoffRequest>,
    ) -> Result<Response<api::Handoff>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(create_handoff::create(&self.0, &permit, request.into_inner()).await?))
    }
}
