//! A shop's life with unique values in every classified field: a seller, a creator, a buyer who buys, cancels and
//! mistypes, and a bank whose signature is garbled.

use acceptance::shop::{SessionScope, request, request_id};
use acceptance::{Mesh, eventually, wire};
use bytes::Bytes;
use prost::Message as _;
use prost_types::FieldMask;
use sekat_api_account::v1 as account;
use sekat_api_account::v1::account_service_client::AccountServiceClient;
use sekat_api_account::v1::address_service_client::AddressServiceClient;
use sekat_api_account::v1::session_service_client::SessionServiceClient;
use sekat_api_catalog::v1 as catalog;
use sekat_api_catalog::v1::listing_service_client::ListingServiceClient;
use sekat_api_google::r#type::Money;
use sekat_api_merchant::v1 as merchant;
use sekat_api_merchant::v1::merchant_service_client::MerchantServiceClient;
use sekat_api_order::v1 as order;
use sekat_api_order::v1::cart_service_client::CartServiceClient;
use sekat_api_order::v1::order_service_client::OrderServiceClient;
use sekat_api_order::v1::{Order, OrderState};
use sekat_api_payment::v1 as payment;
use sekat_api_payment::v1::payment_intent_service_client::PaymentIntentServiceClient;
use sekat_api_showcase::v1 as showcase;
use sekat_api_showcase::v1::handoff_service_client::HandoffServiceClient;
use sekat_api_showcase::v1::pin_service_client::PinServiceClient;
use sekat_api_showcase::v1::showcase_service_client::ShowcaseServiceClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::support::till::Till;

/// What is classified: what it is, and its value.
pub(crate) type Canaries = Vec<(String, String)>;

/// What shipping costs unless `SEKAT_SHIPPING_FEE` says otherwise.
const SHIPPING: u64 = 12_000;

/// Lives the shop's life and returns all that it planted or was told in confidence.
pub(crate) async fn live(mesh: &Mesh) -> Canaries {
    let mut journey = Journey {
        commerce: mesh.public("commerce-edge"),
        showcase: mesh.public("showcase-edge"),
        till: Till::of(mesh),
        canaries: Canaries::new(),
    };
    let price = 20_000_000 + u64::from(rand::random_range(1_000_000..9_000_000_u32));
    let (seller, sku) = journey.sell(price).await;
    let creator = journey.person("creator", SessionScope::Creator).await;
    let handoff = journey.pin(&creator, &sku).await;
    let buyer = journey.person("buyer", SessionScope::Buyer).await;
    let address = journey.address(&buyer).await;

    mesh.bank().arm("wrong-signature", 2).await;
    let paid = journey.order(&buyer, &address, &handoff, &sku).await;
    journey.pay(&buyer, &paid).await;
    journey.amounts(price + SHIPPING);
    let canceled = journey.order(&buyer, &address, "", &sku).await;
    journey.cancel(&buyer, &canceled).await;
    journey.blunder(&buyer, &seller, &creator, &paid).await;
    journey.leave(&buyer).await;
    let notifications = journey.till.charges().await.into_iter().filter_map(|charge| charge.payment_request_id);
    journey.canaries.extend(notifications.map(|id| ("the bank's name for a payment".to_owned(), id)));
    journey.canaries
}

/// So many digits that nobody else has.
fn digits(count: usize) -> String {
    (0..count).map(|_| char::from(b'0' + rand::random_range(0..10_u8))).collect()
}

/// A word that nobody else has.
fn word() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..12].to_owned()
}

/// Somebody signed in, and what they typed to be so.
struct Somebody {
    session: account::Session,
    email: String,
    password: String,
}

impl Somebody {
    fn token(&self) -> Option<&str> {
        Some(&self.session.access_token)
    }
}

struct Journey {
    commerce: Channel,
    showcase: Channel,
    till: Till,
    canaries: Canaries,
}

impl Journey {
    /// Notes a value, and returns it.
    fn plant(&mut self, what: &str, value: String) -> String {
        self.canaries.push((what.to_owned(), value.clone()));
        value
    }

    /// Notes the last part of a resource's name: the whole name would be found less often.
    fn name(&mut self, what: &str, name: &str) {
        self.plant(what, name.rsplit('/').next().unwrap().to_owned());
    }

    fn session(&mut self, who: &str, session: &account::Session) {
        self.name(&format!("the {who}'s account"), &session.account);
        self.name(&format!("the {who}'s session"), &session.name);
        for part in session.access_token.split('.').skip(1) {
            self.plant(&format!("the {who}'s access token"), part.to_owned());
        }
        self.plant(&format!("the {who}'s refresh token"), session.refresh_token.clone());
    }

    async fn person(&mut self, who: &str, scope: SessionScope) -> Somebody {
        let creator_handle = if scope == SessionScope::Creator { format!("h{}", word()) } else { String::new() };
        let person = account::Account {
            display_name: self.plant(&format!("the {who}'s name"), format!("Kenanga {}", word())),
            email: self.plant(&format!("the {who}'s e-mail"), format!("{}@rahasia.example", word())),
            phone: self.plant(&format!("the {who}'s phone"), format!("+628{}", digits(10))),
            creator_handle,
            ..Default::default()
        };
        let email = person.email.clone();
        let password = self.plant(&format!("the {who}'s password"), format!("rahasia-{}", word()));
        let signing_up = account::CreateAccountRequest {
            account: Some(person),
            password: password.clone(),
            request_id: request_id(),
        };
        let mut accounts = AccountServiceClient::new(self.commerce.clone());
        accounts.create_account(request(None, signing_up)).await.expect("signing up");
        let session = self.sign_in(&email, &password, scope).await.expect("signing in");
        self.session(who, &session);
        Somebody { session, email, password }
    }

    async fn sign_in(
        &self,
        email: &str,
        password: &str,
        scope: SessionScope,
    ) -> Result<account::Session, tonic::Status> {
        let signing_in = account::CreateSessionRequest {
            email: email.to_owned(),
            password: password.to_owned(),
            scope: scope.into(),
            request_id: request_id(),
        };
        let mut sessions = SessionServiceClient::new(self.commerce.clone());
        sessions.create_session(request(None, signing_in)).await.map(tonic::Response::into_inner)
    }

    /// A seller with one thing to sell. Returns its sku.
    async fn sell(&mut self, price: u64) -> (Somebody, String) {
        let seller = self.person("seller", SessionScope::Seller).await;
        let business = merchant::Merchant {
            display_name: "Toko Terbuka".to_owned(),
            city: "Sleman".to_owned(),
            legal_name: self.plant("the seller's legal name", format!("CV Sunyi {}", word())),
            nib: self.plant("the seller's NIB", digits(13)),
            npwp: self.plant("the seller's NPWP", digits(16)),
            ..Default::default()
        };
        let registration = merchant::CreateMerchantRequest { merchant: Some(business), request_id: request_id() };
        let mut merchants = MerchantServiceClient::new(self.commerce.clone());
        merchants.create_merchant(request(seller.token(), registration)).await.expect("registering");

        let rupiah =
            |units: u64| Money { currency_code: "IDR".to_owned(), units: i64::try_from(units).unwrap(), nanos: 0 };
        let cost = 10_000_000 + u64::from(rand::random_range(1_000_000..9_000_000_u32));
        self.plant("the seller's cost", cost.to_string());
        let listing = catalog::Listing {
            title: "Jam tangan".to_owned(),
            category: "Uji".to_owned(),
            supplier_reference: self.plant("the seller's supplier", format!("Pemasok {}", word())),
            skus: vec![catalog::ListingSku {
                sku_code: "JAM".to_owned(),
                unit: "buah".to_owned(),
                price: Some(rupiah(price)),
                cost: Some(rupiah(cost)),
                on_hand: 5,
                ..Default::default()
            }],
            ..Default::default()
        };
        let creation = catalog::CreateListingRequest {
            parent: seller.session.merchant.clone(),
            listing: Some(listing),
            request_id: request_id(),
        };
        let mut listings = ListingServiceClient::new(self.commerce.clone());
        let listed = eventually("the catalog knows the new merchant", async || {
            listings.create_listing(request(seller.token(), creation.clone())).await.ok()
        });
        let sku = listed.await.into_inner().skus[0].sku.clone();
        (seller, sku)
    }

    /// A page with the thing on it. Returns a handoff.
    async fn pin(&self, creator: &Somebody, sku: &str) -> String {
        let page = showcase::Showcase { display_name: "Pilihan".to_owned(), ..Default::default() };
        let opening = showcase::CreateShowcaseRequest { showcase: Some(page), request_id: request_id() };
        let mut pages = ShowcaseServiceClient::new(self.showcase.clone());
        let page = pages.create_showcase(request(creator.token(), opening)).await.expect("a page").into_inner();
        let pinning = showcase::CreatePinRequest {
            parent: page.name,
            pin: Some(showcase::Pin { sku: sku.to_owned(), ..Default::default() }),
            request_id: request_id(),
        };
        let mut pins = PinServiceClient::new(self.showcase.clone());
        let pinned = eventually("the feed has brought the product", async || {
            pins.create_pin(request(creator.token(), pinning.clone())).await.ok()
        });
        let items = vec![showcase::HandoffItem { pin: pinned.await.into_inner().name, quantity: 1 }];
        let tap = showcase::CreateHandoffRequest { items, request_id: request_id() };
        let mut handoffs = HandoffServiceClient::new(self.showcase.clone());
        handoffs.create_handoff(request(None, tap)).await.expect("a handoff").into_inner().token
    }

    async fn address(&mut self, buyer: &Somebody) -> String {
        let address = account::Address {
            receiver_name: self.plant("the receiver's name", format!("Melur {}", word())),
            phone: self.plant("the receiver's phone", format!("+628{}", digits(10))),
            street: self.plant("the street", format!("Gang Sunyi {}", word())),
            district: self.plant("the district", format!("Kecamatan {}", word())),
            city: self.plant("the city", format!("Kota {}", word())),
            province: self.plant("the province", format!("Provinsi {}", word())),
            postal_code: "55281".to_owned(),
            ..Default::default()
        };
        let creation = account::CreateAddressRequest {
            parent: buyer.session.account.clone(),
            address: Some(address),
            request_id: request_id(),
        };
        let mut addresses = AddressServiceClient::new(self.commerce.clone());
        let made = addresses.create_address(request(buyer.token(), creation)).await.expect("an address").into_inner();
        self.name("the address", &made.name);
        made.name
    }

    /// An order of one piece, from a handoff if there is one.
    async fn order(&mut self, buyer: &Somebody, address: &str, handoff: &str, sku: &str) -> Order {
        let opening = order::CreateCartRequest { handoff: handoff.to_owned(), request_id: request_id() };
        let mut carts = CartServiceClient::new(self.commerce.clone());
        let cart = carts.create_cart(request(buyer.token(), opening)).await.expect("a cart").into_inner();
        self.name("a cart", &cart.name);
        if handoff.is_empty() {
            let addition = order::AddCartLineRequest {
                cart: cart.name.clone(),
                sku: sku.to_owned(),
                quantity: 1,
                request_id: request_id(),
            };
            carts.add_cart_line(request(buyer.token(), addition)).await.expect("a line");
        }
        let mut orders = OrderServiceClient::new(self.commerce.clone());
        let asking = order::QuoteOrderRequest { cart: cart.name.clone(), address: address.to_owned() };
        let quote = orders.quote_order(request(buyer.token(), asking)).await.expect("a quote").into_inner();
        let ordering = order::CreateOrderRequest {
            cart: cart.name,
            address: address.to_owned(),
            quote_hash: quote.quote_hash,
            request_id: request_id(),
        };
        let placed = orders.create_order(request(buyer.token(), ordering)).await.expect("an order").into_inner();
        assert_eq!(placed.state(), OrderState::PendingPayment, "{}", placed.failure_reason);
        self.name("an order", &placed.name);
        self.name("a payment", &placed.payment_intent);
        placed
    }

    async fn virtual_account(&mut self, buyer: &Somebody, placed: &Order) -> String {
        let method = payment::VirtualAccountMethod { bank: payment::Bank::Bca.into() };
        let confirmation = payment::ConfirmPaymentIntentRequest {
            name: placed.payment_intent.clone(),
            method: Some(payment::confirm_payment_intent_request::Method::VirtualAccount(method)),
            request_id: request_id(),
        };
        let mut intents = PaymentIntentServiceClient::new(self.commerce.clone());
        let confirmed =
            intents.confirm_payment_intent(request(buyer.token(), confirmation)).await.expect("a way to pay");
        let Some(payment::next_action::Action::VirtualAccountTransfer(transfer)) =
            confirmed.into_inner().next_action.and_then(|next| next.action)
        else {
            panic!("the payment names no virtual account")
        };
        self.plant("a virtual account", transfer.account_number)
    }

    async fn pay(&mut self, buyer: &Somebody, placed: &Order) {
        let number = self.virtual_account(buyer, placed).await;
        self.till.pay(&number).await;
        self.reaches(buyer, placed, OrderState::Paid).await;
    }

    async fn cancel(&mut self, buyer: &Somebody, placed: &Order) {
        self.virtual_account(buyer, placed).await;
        let cancellation = order::CancelOrderRequest { name: placed.name.clone(), request_id: request_id() };
        let mut orders = OrderServiceClient::new(self.commerce.clone());
        orders.cancel_order(request(buyer.token(), cancellation)).await.expect("a cancellation");
        self.reaches(buyer, placed, OrderState::Canceled).await;
    }

    async fn reaches(&self, buyer: &Somebody, placed: &Order, state: OrderState) {
        let mut orders = OrderServiceClient::new(self.commerce.clone());
        eventually(&format!("an order is {state:?}"), async || {
            let asking = order::GetOrderRequest { name: placed.name.clone() };
            let now = orders.get_order(request(buyer.token(), asking)).await.ok()?.into_inner();
            (now.state() == state).then_some(())
        })
        .await;
    }

    /// What was paid, as it is written by the bank, for people, and in stores.
    fn amounts(&mut self, rupiah: u64) {
        let digits = rupiah.to_string();
        let [millions, thousands, units] = [&digits[..2], &digits[2..5], &digits[5..]];
        self.plant("the amount", digits.clone());
        self.plant("the amount for people", format!("{millions}.{thousands}.{units}"));
    }

    /// Everything that ends in an error text.
    async fn blunder(&mut self, buyer: &Somebody, seller: &Somebody, creator: &Somebody, paid: &Order) {
        let wrong = self.plant("a wrong password", format!("salah-{}", word()));
        let unknown = self.plant("an unknown e-mail", format!("{}@tiada.example", word()));
        for (email, password) in [(&buyer.email, &wrong), (&unknown, &buyer.password)] {
            let refused = self.sign_in(email, password, SessionScope::Buyer).await;
            assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
        }
        let phone = self.plant("a mistyped phone", format!("nol-{}", word()));
        let change = account::UpdateAccountRequest {
            account: Some(account::Account { name: buyer.session.account.clone(), phone, ..Default::default() }),
            update_mask: Some(FieldMask { paths: vec!["phone".to_owned()] }),
            request_id: request_id(),
            ..Default::default()
        };
        let mut accounts = AccountServiceClient::new(self.commerce.clone());
        let refused = accounts.update_account(request(buyer.token(), change)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);

        // Other people's things, methods of another scope, and the other domain's edge.
        let names = [&paid.name, &paid.payment_intent, &buyer.session.account];
        let paths = [
            "/sekat.order.v1.OrderService/GetOrder",
            "/sekat.order.v1.OrderService/CancelOrder",
            "/sekat.payment.v1.PaymentIntentService/GetPaymentIntent",
            "/sekat.account.v1.AccountService/GetAccount",
            "/sekat.payment.v1.PaymentIntentService/CapturePaymentIntent",
            "/sekat.account.v1.AccountService/GetAccountStanding",
            "/sekat.merchant.v1.MerchantService/GetMerchant",
        ];
        for edge in [&self.commerce, &self.showcase] {
            for path in paths {
                for name in names {
                    let message = Bytes::from(order::GetOrderRequest { name: name.clone() }.encode_to_vec());
                    for token in [None, seller.token(), creator.token(), Some(wrong.as_str())] {
                        let outcome = wire::call(edge, path, token, message.clone()).await;
                        assert_ne!(outcome.code(), Some(Code::Ok), "{path}");
                    }
                }
            }
        }
        // A name where none is expected.
        let lost = self.plant("a lost name", format!("orders/{}", word()));
        let message = Bytes::from(order::GetOrderRequest { name: lost }.encode_to_vec());
        for path in ["/sekat.order.v1.OrderService/GetOrder", "/sekat.order.v1.CartService/GetCart"] {
            let outcome = wire::call(&self.commerce, path, buyer.token(), message.clone()).await;
            assert_ne!(outcome.code(), Some(Code::Ok), "{path}");
        }
    }

    /// New tokens, then none.
    async fn leave(&mut self, buyer: &Somebody) {
        let mut sessions = SessionServiceClient::new(self.commerce.clone());
        let refreshing = account::RefreshSessionRequest {
            refresh_token: buyer.session.refresh_token.clone(),
            request_id: request_id(),
        };
        let refreshed = sessions.refresh_session(request(None, refreshing)).await.expect("new tokens").into_inner();
        self.session("refreshed buyer", &refreshed);
        let revoking = account::RevokeSessionRequest { name: refreshed.name.clone(), request_id: request_id() };
        sessions
            .revoke_session(request(Some(&refreshed.access_token), revoking))
            .await
            .expect("the end of the session");
    }
}
