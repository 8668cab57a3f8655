//! Every write that an end user can call, each with what it needs to be tried: a request, other requests under the
//! same id, a stranger, and a number in a store that grows by one with its effect.

use acceptance::shop::{Goods, PASSWORD, Person, SessionScope, Shop, request, request_id};
use acceptance::{Mesh, eventually};
use bytes::Bytes;
use prost::Message;
use prost_types::FieldMask;
use sekat_api_account::v1 as account;
use sekat_api_account::v1::account_service_client::AccountServiceClient;
use sekat_api_account::v1::session_service_client::SessionServiceClient;
use sekat_api_catalog::v1 as catalog;
use sekat_api_catalog::v1::listing_service_client::ListingServiceClient;
use sekat_api_google::r#type::Money;
use sekat_api_merchant::v1 as merchant;
use sekat_api_order::v1 as order;
use sekat_api_payment::v1 as payment;
use sekat_api_showcase::v1 as showcase;
use sekat_api_showcase::v1::handoff_service_client::HandoffServiceClient;
use sekat_api_showcase::v1::pin_service_client::PinServiceClient;
use sekat_api_showcase::v1::showcase_service_client::ShowcaseServiceClient;
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
/// The session: its tokens are fresh in each reply, as the contract says.
const SESSION: Reply = Reply { part: |reply| Bytes::from(account::Session::decode(reply.clone()).unwrap().name) };

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

    async fn session(&self, scope: SessionScope, email: &str) -> account::Session {
        let signing_in = account::CreateSessionRequest {
            email: email.to_owned(),
            password: PASSWORD.to_owned(),
            scope: scope.into(),
            request_id: request_id(),
        };
        SessionServiceClient::new(self.commerce.clone())
            .create_session(request(None, signing_in))
            .await
            .expect("signing in")
            .into_inner()
    }

    /// Accounts, sessions, addresses. Who signs up or in has no token, and is known by e-mail address and password: a
    /// stranger is a test of its own.
    async fn accounts(&self) -> Vec<Write> {
        let email = format!("{}@uji.example", request_id());
        let signing_up = account::CreateAccountRequest {
            account: Some(account::Account {
                display_name: "Melati Kusuma".to_owned(),
                email: email.clone(),
                ..Default::default()
            }),
            password: PASSWORD.to_owned(),
            request_id: request_id(),
        };
        let mut renamed = signing_up.clone();
        renamed.account.as_mut().unwrap().display_name = "Mawar Kusuma".to_owned();
        let mut moved = signing_up.clone();
        moved.account.as_mut().unwrap().email = format!("{}@uji.example", request_id());
        let anonymous = |path, body: &dyn Fn() -> Bytes, others, effect| Write {
            path,
            edge: self.commerce.clone(),
            token: None,
            body: body(),
            others,
            stranger: None,
            reply: WHOLE,
            effect,
        };
        let create_account = anonymous(
            "/sekat.account.v1.AccountService/CreateAccount",
            &|| encoded(&signing_up),
            vec![encoded(&renamed), encoded(&moved)],
            ("account", "SELECT COUNT(*) FROM accounts"),
        );

        let person = &self.app.buyer.person;
        let own_email = self.email(&person.account, person.token()).await;
        let signing_in = account::CreateSessionRequest {
            email: own_email.clone(),
            password: PASSWORD.to_owned(),
            scope: SessionScope::Buyer.into(),
            request_id: request_id(),
        };
        let selling = account::CreateSessionRequest { scope: SessionScope::Seller.into(), ..signing_in.clone() };
        let create_session = Write {
            reply: SESSION,
            ..anonymous(
                "/sekat.account.v1.SessionService/CreateSession",
                &|| encoded(&signing_in),
                vec![encoded(&selling)],
                ("account", "SELECT COUNT(*) FROM sessions"),
            )
        };

        let refreshed = self.session(SessionScope::Buyer, &own_email).await;
        let refreshing =
            account::RefreshSessionRequest { refresh_token: refreshed.refresh_token, request_id: request_id() };
        let refresh_session = Write {
            reply: SESSION,
            ..anonymous(
                "/sekat.account.v1.SessionService/RefreshSession",
                &|| encoded(&refreshing),
                // Another token under the same id is another session's business.
                Vec::new(),
                ("account", "SELECT COUNT(*) FROM sessions WHERE refresh_request_id <> ''"),
            )
        };

        let revoked = self.session(SessionScope::Buyer, &own_email).await;
        let kept = self.session(SessionScope::Buyer, &own_email).await;
        let revoking = account::RevokeSessionRequest { name: revoked.name, request_id: request_id() };
        let revoking_other = account::RevokeSessionRequest { name: kept.name, ..revoking.clone() };
        let revoke_session = self.buyer(
            "/sekat.account.v1.SessionService/RevokeSession",
            &revoking,
            &revoking_other,
            ("account", "SELECT COUNT(*) FROM sessions WHERE revoked = 1"),
        );

        let change = |name: &str| account::UpdateAccountRequest {
            account: Some(account::Account {
                name: person.account.clone(),
                display_name: name.to_owned(),
                ..Default::default()
            }),
            update_mask: mask("display_name"),
            request_id: "update-account".to_owned(),
            ..Default::default()
        };
        let update_account = self.buyer(
            "/sekat.account.v1.AccountService/UpdateAccount",
            &change("Sari W."),
            &change("Sari Wulan"),
            ("account", "SELECT SUM(version) FROM accounts"),
        );

        let addition = |street: &str| account::CreateAddressRequest {
            parent: person.account.clone(),
            address: Some(account::Address {
                receiver_name: "Sari".to_owned(),
                phone: "+628111222333".to_owned(),
                street: street.to_owned(),
                city: "Bantul".to_owned(),
                province: "DI Yogyakarta".to_owned(),
                postal_code: "55711".to_owned(),
                ..Default::default()
            }),
            request_id: "create-address".to_owned(),
        };
        let create_address = self.buyer(
            "/sekat.account.v1.AddressService/CreateAddress",
            &addition("Jl. Parangtritis 1"),
            &addition("Jl. Parangtritis 2"),
            ("account", "SELECT COUNT(*) FROM addresses"),
        );
        vec![create_account, create_session, refresh_session, revoke_session, update_account, create_address]
    }

    async fn email(&self, name: &str, token: &str) -> String {
        let asking = account::GetAccountRequest { name: name.to_owned() };
        AccountServiceClient::new(self.commerce.clone())
            .get_account(request(Some(token), asking))
            .await
            .expect("one's own account")
            .into_inner()
            .email
    }

    async fn carts(&self) -> Vec<Write> {
        let [one, two, three] = [&self.shop.skus[0], &self.shop.skus[1], &self.shop.skus[2]];
        let handoff = self.handoff().await;
        let opening = order::CreateCartRequest { handoff, request_id: request_id() };
        let create_cart = self.buyer(
            "/sekat.order.v1.CartService/CreateCart",
            &opening,
            &order::CreateCartRequest { handoff: String::new(), ..opening.clone() },
            ("order", "SELECT COUNT(*) FROM carts"),
        );

        let lines = [(one.as_str(), 1), (two.as_str(), 1)];
        let cart = self.app.buyer.cart(&lines).await.expect("a cart");
        let addition = order::AddCartLineRequest {
            cart: cart.name.clone(),
            sku: three.clone(),
            quantity: 1,
            request_id: request_id(),
        };
        let add_line = self.buyer(
            "/sekat.order.v1.CartService/AddCartLine",
            &addition,
            &order::AddCartLineRequest { quantity: 2, ..addition.clone() },
            ("order", "SELECT SUM(quantity) FROM cart_lines"),
        );
        let change = order::UpdateCartLineRequest {
            name: cart.lines[0].name.clone(),
            quantity: 2,
            update_mask: mask("quantity"),
            request_id: request_id(),
            ..Default::default()
        };
        let update_line = self.buyer(
            "/sekat.order.v1.CartService/UpdateCartLine",
            &change,
            &order::UpdateCartLineRequest { quantity: 3, ..change.clone() },
            ("order", "SELECT SUM(version) FROM carts"),
        );
        let removal = order::RemoveCartLineRequest { name: cart.lines[1].name.clone(), request_id: request_id() };
        let remove_line = self.buyer(
            "/sekat.order.v1.CartService/RemoveCartLine",
            &removal,
            &order::RemoveCartLineRequest { name: cart.lines[0].name.clone(), ..removal.clone() },
            ("order", "SELECT SUM(version) FROM carts"),
        );
        vec![create_cart, add_line, update_line, remove_line]
    }

    async fn orders(&self) -> Vec<Write> {
        let sku = &self.shop.skus[0];
        let (cart, quote_hash) = self.app.fill_cart(sku).await;
        let ordering = order::CreateOrderRequest {
            cart,
            address: self.app.buyer.address.clone(),
            quote_hash,
            request_id: request_id(),
        };
        let create_order = self.buyer(
            "/sekat.order.v1.OrderService/CreateOrder",
            &ordering,
            &order::CreateOrderRequest { quote_hash: "another".to_owned(), ..ordering.clone() },
            ("order", "SELECT COUNT(*) FROM orders"),
        );

        let (_, confirmed) = self.app.order(sku).await;
        let (_, other) = self.app.order(sku).await;
        let method = payment::VirtualAccountMethod { bank: payment::Bank::Bca.into() };
        let confirmation = payment::ConfirmPaymentIntentRequest {
            name: confirmed.payment_intent.clone(),
            method: Some(payment::confirm_payment_intent_request::Method::VirtualAccount(method)),
            request_id: request_id(),
        };
        let confirm_payment = self.buyer(
            "/sekat.payment.v1.PaymentIntentService/ConfirmPaymentIntent",
            &confirmation,
            &payment::ConfirmPaymentIntentRequest { name: other.payment_intent, ..confirmation.clone() },
            ("payment", "SELECT COUNT(*) FROM payment_intents WHERE account_number IS NOT NULL"),
        );

        let (_, canceled) = self.app.order(sku).await;
        let cancellation = order::CancelOrderRequest { name: canceled.name, request_id: request_id() };
        let cancel_order = self.buyer(
            "/sekat.order.v1.OrderService/CancelOrder",
            &cancellation,
            &order::CancelOrderRequest { name: other.name, ..cancellation.clone() },
            ("order", "SELECT COUNT(*) FROM orders WHERE state IN ('cancel-payment', 'cancel-stock', 'canceled')"),
        );
        vec![create_order, confirm_payment, cancel_order]
    }

    async fn listings(&self) -> Vec<Write> {
        let merchant = &self.shop.seller.session.merchant;
        let business = |city: &str| merchant::CreateMerchantRequest {
            merchant: Some(merchant::Merchant {
                display_name: "Warung Baru".to_owned(),
                city: city.to_owned(),
                legal_name: "CV Warung Baru".to_owned(),
                nib: "1234567890123".to_owned(),
                npwp: "1234567890123456".to_owned(),
                ..Default::default()
            }),
            request_id: "create-merchant".to_owned(),
        };
        let create_merchant = Write {
            token: Some(self.newcomer.token().to_owned()),
            ..self.seller(
                "/sekat.merchant.v1.MerchantService/CreateMerchant",
                &business("Sleman"),
                &business("Bantul"),
                ("merchant", "SELECT COUNT(*) FROM merchants"),
            )
        };

        let creation = |title: &str, code: &str, request_id: &str| catalog::CreateListingRequest {
            parent: merchant.clone(),
            listing: Some(listing(title, code)),
            request_id: request_id.to_owned(),
        };
        let create_listing = self.seller(
            "/sekat.catalog.v1.ListingService/CreateListing",
            &creation("Kain lurik", "LURIK", "create-listing"),
            &creation("Kain jumputan", "LURIK", "create-listing"),
            ("catalog", "SELECT COUNT(*) FROM products"),
        );
        let mut made = Vec::new();
        for code in ["D", "E", "F"] {
            let listed = ListingServiceClient::new(self.commerce.clone())
                .create_listing(request(Some(self.shop.seller.token()), creation("Kain", code, &request_id())))
                .await;
            made.push(listed.expect("a listing").into_inner());
        }
        let change = |title: &str| catalog::UpdateListingRequest {
            listing: Some(catalog::Listing {
                name: made[0].name.clone(),
                title: title.to_owned(),
                ..Default::default()
            }),
            update_mask: mask("title"),
            request_id: "update-listing".to_owned(),
            ..Default::default()
        };
        let update_listing = self.seller(
            "/sekat.catalog.v1.ListingService/UpdateListing",
            &change("Kain tenun"),
            &change("Kain songket"),
            ("catalog", "SELECT SUM(version) FROM products"),
        );
        let removal = |index: usize| catalog::DeleteListingRequest {
            name: made[index].name.clone(),
            request_id: "delete-listing".to_owned(),
            ..Default::default()
        };
        let delete_listing = self.seller(
            "/sekat.catalog.v1.ListingService/DeleteListing",
            &removal(1),
            &removal(0),
            ("catalog", "SELECT COUNT(*) FROM products WHERE deleted = 1"),
        );
        let level = |on_hand: i64| catalog::UpdateStockLevelRequest {
            stock_level: Some(catalog::StockLevel { sku: made[2].skus[0].sku.clone(), on_hand, ..Default::default() }),
            update_mask: mask("on_hand"),
            request_id: "update-stock".to_owned(),
            ..Default::default()
        };
        let update_stock = self.seller(
            "/sekat.catalog.v1.InventoryService/UpdateStockLevel",
            &level(8),
            &level(9),
            ("catalog", "SELECT SUM(on_hand) FROM skus"),
        );
        let mut writes = vec![create_merchant, create_listing, update_listing, delete_listing, update_stock];
        writes.extend(self.imports(merchant).await);
        writes
    }

    async fn imports(&self, merchant: &str) -> [Write; 2] {
        let import = |code: &str, request_id: &str| catalog::ImportListingsRequest {
            parent: merchant.to_owned(),
            listings: vec![listing("Kain", code)],
            request_id: request_id.to_owned(),
        };
        let import_listings = self.seller(
            "/sekat.catalog.v1.ListingService/ImportListings",
            &import("G", "import"),
            &import("H", "import"),
            ("catalog", "SELECT COUNT(*) FROM imports"),
        );
        let mut imported = Vec::new();
        for code in ["I", "J"] {
            let operation = ListingServiceClient::new(self.commerce.clone())
                .import_listings(request(Some(self.shop.seller.token()), import(code, &request_id())))
                .await;
            imported.push(operation.expect("an import").into_inner());
        }
        let cancellation = |index: usize| catalog::CancelImportListingsOperationRequest {
            name: imported[index].name.clone(),
            request_id: "cancel-import".to_owned(),
        };
        let cancel_import = self.seller(
            "/sekat.catalog.v1.ListingService/CancelImportListingsOperation",
            &cancellation(0),
            &cancellation(1),
            // The import may be over already; the request is carried out all the same, once.
            ("catalog", "SELECT COUNT(*) FROM request_ids WHERE method LIKE '%/CancelImportListingsOperation'"),
        );
        [import_listings, cancel_import]
    }

    /// Opens the creator's page and pins the first two things of the shop.
    async fn open_page(&mut self) {
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
    async fn handoff(&self) -> String {
        let items = vec![showcase::HandoffItem { pin: self.pins[0].clone(), quantity: 1 }];
        HandoffServiceClient::new(self.showcase.clone())
            .create_handoff(request(None, showcase::CreateHandoffRequest { items, request_id: request_id() }))
            .await
            .expect("a handoff")
            .into_inner()
            .token
    }

    fn showcases(&self) -> Vec<Write> {
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

/// A listing with several of everything that a map can hold: the same request must have the same bytes to the store.
fn listing(title: &str, code: &str) -> catalog::Listing {
    let facts = [("bahan", "katun"), ("asal", "Bantul"), ("lebar", "110 cm"), ("warna", "biru"), ("motif", "garis")];
    let sku = catalog::ListingSku {
        sku_code: code.to_owned(),
        unit: "meter".to_owned(),
        weight_grams: 200,
        price: Some(Money { currency_code: "IDR".to_owned(), units: 45_000, nanos: 0 }),
        on_hand: 7,
        ..Default::default()
    };
    catalog::Listing {
        title: title.to_owned(),
        category: "Fashion/Kain".to_owned(),
        attributes: facts.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect(),
        skus: vec![sku],
        ..Default::default()
    }
}
