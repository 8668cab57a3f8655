//! The feed port's service.

use std::pin::Pin;
use std::sync::Arc;

use sekat_api_feed::v1::product_feed_service_server::ProductFeedService;
use sekat_api_feed::v1::{self as api, FeedChange};
use sekat_mesh::Permit;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::feed;
use crate::rpc::State;

/// Changes that wait for a slow reader before the stream stops reading more.
const BUFFER: usize = 64;

/// The feed.
pub(crate) struct Feed(pub(crate) Arc<State>);

#[tonic::async_trait]
impl ProductFeedService for Feed {
    type StreamFeedChangesStream = Pin<Box<dyn Stream<Item = Result<FeedChange, Status>> + Send>>;

    async fn batch_get_feed_products(
        &self,
        request: Request<api::BatchGetFeedProductsRequest>,
    ) -> Result<Response<api::BatchGetFeedProductsResponse>, Status> {
        Permit::of(&request)?;
        Ok(Response::new(feed::batch_get(&self.0, request.into_inner()).await?))
    }

    async fn list_feed_products(
        &self,
        request: Request<api::ListFeedProductsRequest>,
    ) -> Result<Response<api::ListFeedProductsResponse>, Status> {
        Permit::of(&request)?;
        Ok(Response::new(feed::list(&self.0, request.into_inner()).await?))
    }

    async fn stream_feed_changes(
        &self,
        request: Request<api::StreamFeedChangesRequest>,
    ) -> Result<Response<Self::StreamFeedChangesStream>, Status> {
        Permit::of(&request)?;
        let state = Arc::clone(&self.0);
        let mut news = state.feed.subscribe();
        let token = request.into_inner().resume_token;
        let mut seq = feed::position(&state, &token).await?;
        let (sender, receiver) = tokio::sync::mpsc::channel(BUFFER);
        tokio::spawn(async move {
            // Ends when the client is gone: the mesh drops the receiver at the deadline at the latest.
            loop {
                news.mark_unchanged();
                let changes = match feed::after(&state, seq).await {
                    Ok(changes) => changes,
                    Err(error) => {
                        drop(sender.send(Err(error.into())).await);
                        return;
                    }
                };
                let is_current = changes.is_empty();
                for (number, change) in changes {
                    seq = number;
                    if sender.send(Ok(change)).await.is_err() {
                        return;
                    }
                }
                if is_current {
                    tokio::select! {
                        changed = news.changed() => if changed.is_err() { return },
                        () = sender.closed() => return,
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
