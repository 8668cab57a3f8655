//! Parse, call, map: no rules and no SQL.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use sekat_api_order::v1;
use sekat_api_order::v1::cart_service_server::CartService;
use sekat_api_order::v1::order_service_server::OrderService;
use sekat_mesh::Permit;
use tonic::{Request, Response, Status};

use crate::shop::Shop;
use crate::{cancel_order, cart_lines, create_cart, create_order, list_orders, prices, quote, watch_order};

/// The two services of the package.
#[derive(Clone)]
pub(crate) struct Counter(pub(crate) Arc<Shop>);

#[tonic::async_trait]
impl CartService for Counter {
    async fn create_cart(&self, request: Request<v1::CreateCartRequest>) -> Result<Response<v1::Cart>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(create_cart::create_cart(&self.0, &permit, request.into_inner()).await?))
    }

    async fn get_cart(&self, request: Request<v1::GetCartRequest>) -> Result<Response<v1::Cart>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(prices::get_cart(&self.0, &permit, request.into_inner()).await?))
    }

    async fn add_cart_line(&self, request: Request<v1::AddCartLineRequest>) -> Result<Response<v1::Cart>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(cart_lines::add_line(&self.0, &permit, request.into_inner()).await?))
    }

    async fn update_cart_line(
        &self,
        request: Request<v1::UpdateCartLineRequest>,
    ) -> Result<Response<v1::Cart>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(cart_lines::update_line(&self.0, &permit, request.into_inner()).await?))
    }

    async fn remove_cart_line(
        &self,
        request: Request<v1::RemoveCartLineRequest>,
    ) -> Result<Response<v1::Cart>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(cart_lines::remove_line(&self.0, &permit, request.into_inner()).await?))
    }
}

#[tonic::async_trait]
impl OrderService for Counter {
    async fn quote_order(&self, request: Request<v1::QuoteOrderRequest>) -> Result<Response<v1::OrderQuote>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(quote::quote_order(&self.0, &permit, request.into_inner()).await?))
    }

    async fn create_order(&self, request: Request<v1::CreateOrderRequest>) -> Result<Response<v1::Order>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(create_order::create_order(&self.0, &permit, request.into_inner()).await?))
    }

    async fn get_order(&self, request: Request<v1::GetOrderRequest>) -> Result<Response<v1::Order>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(list_orders::get_order(&self.0, &permit, request.into_inner()).await?))
    }

    async fn list_orders(
        &self,
        request: Request<v1::ListOrdersRequest>,
    ) -> Result<Response<v1::ListOrdersResponse>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(list_orders::list_orders(&self.0, &permit, request.into_inner()).await?))
    }

    async fn cancel_order(&self, request: Request<v1::CancelOrderRequest>) -> Result<Response<v1::Order>, Status> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(cancel_order::cancel_order(&self.0, &permit, request.into_inner()).await?))
    }

    type WatchOrderStream = Pin<Box<dyn Stream<Item = Result<v1::OrderEvent, Status>> + Send>>;

    async fn watch_order(
        &self,
        request: Request<v1::WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let permit = Permit::of(&request)?;
        let events = watch_order::watch_order(&self.0, &permit, request.into_inner()).await?;
        Ok(Response::new(Box::pin(events)))
    }
}
