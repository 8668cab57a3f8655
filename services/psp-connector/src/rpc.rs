//! Parse, call, map: no rules and no network.

use std::error::Error as _;
use std::sync::Arc;

use sekat_api_connector::v1 as api;
use sekat_api_connector::v1::payment_connector_service_server::PaymentConnectorService;
use sekat_mesh::Permit;
use tonic::{Request, Response, Status};

use crate::bank::Bank;
use crate::error::Error;
use crate::{cancel_charge, create_charge, get_charge, verify_notification};

/// The package's one service.
#[derive(Clone, Debug)]
pub(crate) struct Connector(pub(crate) Arc<Bank>);

#[tonic::async_trait]
impl PaymentConnectorService for Connector {
    async fn create_charge(&self, request: Request<api::CreateChargeRequest>) -> Result<Response<api::Charge>, Status> {
        let permit = Permit::of(&request)?;
        answer(create_charge::create(&self.0, &permit, request.into_inner()).await)
    }

    async fn get_charge(&self, request: Request<api::GetChargeRequest>) -> Result<Response<api::Charge>, Status> {
        let permit = Permit::of(&request)?;
        answer(get_charge::get(&self.0, &permit, request.into_inner()).await)
    }

    async fn cancel_charge(&self, request: Request<api::CancelChargeRequest>) -> Result<Response<api::Charge>, Status> {
        let permit = Permit::of(&request)?;
        answer(cancel_charge::cancel(&self.0, &permit, request.into_inner()).await)
    }

    async fn verify_notification(
        &self,
        request: Request<api::VerifyNotificationRequest>,
    ) -> Result<Response<api::VerifiedNotification>, Status> {
        let permit = Permit::of(&request)?;
        answer(verify_notification::verify(&self.0, &permit, &request.into_inner()))
    }
}

/// What went wrong on the way to the bank is told to whoever runs us, not to the caller.
fn answer<T>(outcome: Result<T, Error>) -> Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(|error| {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        tracing::warn!(causes = causes.join(": "), "{error}");
        error.into()
    })
}
