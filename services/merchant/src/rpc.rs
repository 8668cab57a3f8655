//! Parse, call, map: no rules and no SQL.

use sekat_api_merchant::v1::merchant_service_server::MerchantService;
use sekat_api_merchant::v1::{
    CreateMerchantRequest, GetMerchantRequest, GetPublicMerchantRequest, Merchant, PublicMerchant,
};
use sekat_mesh::Permit;
use sekat_store::Store;
use tonic::{Request, Response, Status};

use crate::{create_merchant, read_merchant};

/// The service.
pub(crate) struct Merchants(pub(crate) Store);

#[tonic::async_trait]
impl MerchantService for Merchants {
    async fn create_merchant(&self, request: Request<CreateMerchantRequest>) -> Result<Response<Merchant>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(create_merchant::create(&self.0, &permit, request.into_inner()).await?))
    }

    async fn get_merchant(&self, request: Request<GetMerchantRequest>) -> Result<Response<Merchant>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(read_merchant::get(&self.0, &permit, request.into_inner()).await?))
    }

    async fn get_public_merchant(
        &self,
        request: Request<GetPublicMerchantRequest>,
    ) -> Result<Response<PublicMerchant>, Status> {
        Permit::of(&request)?;
        Ok(Response::new(read_merchant::get_public(&self.0, request.into_inner()).await?))
    }
}
