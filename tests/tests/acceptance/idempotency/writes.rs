//! Every write that an end user can call, each with what it needs to be tried: a request, other requests under the
//! same id, a stranger, and a number in a store that grows by one with its effect.

mod accounts;
mod listings;
mod orders;
mod showcases;

use acceptance::Mesh;
use acceptance::shop::{Goods, Person, SessionScope, Shop};
use bytes::Bytes;
use prost::Message;
use prost_types::FieldMask;
use tonic::transport::Channel;

use crate::support::app::App;

/// One write.
pub(crate) struct Write {
    pub(crate) path: &'static str,
    pub(crate) edge: Channel,
    /// Whose it is; nobody's if none.
    pub(crate) token: Option<String>,
    pub(crate) body: Bytes,
    /// Other requests under the same id, which are refused.
    pub(crate) others: Vec<Bytes>,
    /// Somebody else, whom the same bytes must not get the same reply.
    pub(crate) stranger: Option<String>,
    pub(crate) reply: Reply,
    /// A service and a query for a number that grows by one.
    pub(crate) effect: (&'static str, &'static str),
}

/// What of a reply is equal in all of them.
pub(crate) struct Reply {
    pub(crate) part: fn(&Bytes) -> Bytes,
}

/// All of it.
const WHOLE: Reply = Reply { part: Bytes::clone };

/// The people and things that the writes are about.
struct World {
    commerce: Channel,
    showcase: Channel,
    app: App,
    stranger: App,
    shop: Shop,
    /// Sells nothing yet.
    newcomer: Person,
    rival: Person,
    creator: Person,
    other_creator: Person,
    /// The creator's page, with two pins.
    page: String,
    pins: Vec<String>,
}

/// Prepares and lists all writes. They are tried in this order.
pub(crate) async fn writes(mesh: &Mesh) -> Vec<Write> {
    let goods = ["A", "B", "C"].map(|code| Goods { code, rupiah: 25_000, stock: 100 });
    let mut world = World {
        commerce: mesh.public("commerce-edge"),
        showcase: mesh.public("showcase-edge"),
        app: App::sign_up(mesh).await,
        stranger: App::sign_up(mesh).await,
        shop: Shop::open(mesh, &goods).await,
        newcomer: Person::sign_up(mesh, SessionScope::Seller).await,
        rival: Person::sign_up(mesh, SessionScope::Seller).await,
        creator: Person::sign_up(mesh, SessionScope::Creator).await,
        other_creator: Person::sign_up(mesh, SessionScope::Creator).await,
        page: String::new(),
        pins: Vec::new(),
    };
    world.open_page().await;
    let mut writes = world.accounts().await;
    writes.extend(world.carts().await);
    writes.extend(world.orders().await);
    writes.extend(world.listings().await);
    writes.extend(world.showcases());
    writes
}

fn encoded(message: &impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

fn mask(path: &str) -> Option<FieldMask> {
    Some(FieldMask { paths: vec![path.to_owned()] })
}

impl World {
    fn buyer(
        &self,
        path: &'static str,
        body: &impl Message,
        other: &impl Message,
        effect: (&'static str, &'static str),
    ) -> Write {
        Write {
            path,
            edge: self.commerce.clone(),
            token: Some(self.app.buyer.person.token().to_owned()),
            body: encoded(body),
            others: vec![encoded(other)],
            stranger: Some(self.stranger.buyer.person.token().to_owned()),
            reply: WHOLE,
            effect,
        }
    }

    fn seller(
        &self,
        path: &'static str,
        body: &impl Message,
        other: &impl Message,
        effect: (&'static str, &'static str),
    ) -> Write {
        Write {
            token: Some(self.shop.seller.token().to_owned()),
            stranger: Some(self.rival.token().to_owned()),
            ..self.buyer(path, body, other, effect)
        }
    }

    fn creator(
        &self,
        path: &'static str,
        body: &impl Message,
        other: &impl Message,
        effect: (&'static str, &'static str),
    ) -> Write {
        Write {
            edge: self.showcase.clone(),
            token: Some(self.creator.token().to_owned()),
            stranger: Some(self.other_creator.token().to_owned()),
            ..self.buyer(path, body, other, effect)
        }
    }
}
