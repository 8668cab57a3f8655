//! `sekat buy`: one purchase, walked as a buyer's app would: it browses at the showcase's edge, carries the handoff
//! over itself, buys at commerce's edge and pays at the bank.

mod bank;

use std::time::Instant;

use anyhow::{Context, bail};
use base64::Engine;
use sekat_api_account::v1 as account;
use sekat_api_account::v1::account_service_client::AccountServiceClient;
use sekat_api_account::v1::address_service_client::AddressServiceClient;
use sekat_api_account::v1::session_service_client::SessionServiceClient;
use sekat_api_google::r#type::Money as WireMoney;
use sekat_api_order::v1 as order;
use sekat_api_order::v1::cart_service_client::CartServiceClient;
use sekat_api_order::v1::order_service_client::OrderServiceClient;
use sekat_api_payment::v1 as payment;
use sekat_api_payment::v1::ledger_service_client::LedgerServiceClient;
use sekat_api_payment::v1::payment_intent_service_client::PaymentIntentServiceClient;
use sekat_api_showcase::v1 as showcase;
use sekat_api_showcase::v1::handoff_service_client::HandoffServiceClient;
use sekat_api_showcase::v1::showcase_service_client::ShowcaseServiceClient;
use sekat_money::Money;
use tonic::transport::Channel;

use crate::edges::{Caller, mesh_channel, public_channel, refused, request_id};
use crate::exit::Exit;
use crate::layout::{Layout, Running};
use crate::story::{LedgerLine, Step, Story};
use crate::trace::Trace;
use crate::{Data, Output};

/// The leaf that holds the token with which a buyer signs in.
pub(crate) const ACCESS_TOKEN: &str = "sekat.account.v1.Session.access_token";

/// The password of the buyers that `buy` signs up; they live in a mesh on this machine only.
const BUYER_PASSWORD: &str = "correct-horse-battery";

/// Who buys. Every value is of the class USER.
pub(crate) struct Buyer {
    display_name: String,
    email: String,
    phone: String,
    receiver_name: String,
    street: String,
    district: String,
    city: String,
    province: String,
}

impl Buyer {
    /// Somebody whom one can read about in a story.
    pub(crate) fn ordinary() -> Self {
        Self {
            display_name: "Sari Wulandari".to_owned(),
            email: format!("buyer-{}@pembeli.example", unique()),
            phone: "+6281234567890".to_owned(),
            receiver_name: "Sari Wulandari".to_owned(),
            street: "Jl. Kaliurang KM 5 No. 12".to_owned(),
            district: "Depok".to_owned(),
            city: "Sleman".to_owned(),
            province: "DI Yogyakarta".to_owned(),
        }
    }

    /// Somebody whose every value is unique, so that it can be searched for.
    pub(crate) fn marked() -> Self {
        let text = |field: &str| format!("{field} {}", unique());
        let digits: String = uuid::Uuid::new_v4().as_u128().to_string().chars().take(9).collect();
        Self {
            display_name: text("Nama"),
            email: format!("kenari-{}@pembeli.example", unique()),
            phone: format!("+62811{digits}"),
            receiver_name: text("Penerima"),
            street: text("Jl."),
            district: text("Kecamatan"),
            city: text("Kota"),
            province: text("Provinsi"),
        }
    }

    /// Each value with its field.
    fn values(&self) -> Vec<(&'static str, String)> {
        let fields = [
            ("sekat.account.v1.Account.display_name", &self.display_name),
            ("sekat.account.v1.Account.email", &self.email),
            ("sekat.account.v1.Account.phone", &self.phone),
            ("sekat.account.v1.Address.receiver_name", &self.receiver_name),
            ("sekat.account.v1.Address.street", &self.street),
            ("sekat.account.v1.Address.district", &self.district),
            ("sekat.account.v1.Address.city", &self.city),
            ("sekat.account.v1.Address.province", &self.province),
        ];
        fields.map(|(field, value)| (field, value.clone())).to_vec()
    }
}

/// A text that exists nowhere else.
pub(crate) fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Flags of `sekat buy`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    output: Output,
}

/// Makes one purchase in a running mesh and prints its story.
pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let layout = Layout::new(&args.data.data)?;
    let running = Running::read(&layout)?;
    purchase(&running, &Buyer::ordinary()).await?.print(args.output.format)?;
    Ok(Exit::Holds)
}

/// Makes one purchase: from the showcase page to PAID.
pub(crate) async fn purchase(running: &Running, buyer: &Buyer) -> anyhow::Result<Story> {
    let mut app = App::new(running)?;
    app.sign_in(buyer).await?;
    let trace = Trace::start("purchase", &running.otlp)?;
    let started = Instant::now();
    app.caller.traceparent = Some(trace.traceparent());
    let token = app.browse().await?;
    let cart = app.fill_cart(&token).await?;
    let placed = app.place_order(&cart).await?;
    let number = app.choose_payment(&placed).await?;
    app.pay(&placed, &number).await?;
    let paid = app.wait_until_paid(&placed).await?;
    let elapsed_ms = started.elapsed().as_millis();
    trace.finish().await?;
    app.caller.traceparent = None;
    let ledger = ledger(running, &paid.payment_intent).await?;
    let mut private = buyer.values();
    private.push(("sekat.payment.v1.VirtualAccountTransfer.account_number", number));
    // The part of a name that its server chose.
    let id = |name: &str| name.rsplit_once('/').map_or(name, |(_, id)| id).to_owned();
    private.push(("sekat.account.v1.Address.name", id(&app.address)));
    private.push(("sekat.order.v1.Cart.name", id(&cart.name)));
    private.push(("sekat.order.v1.Order.name", id(&paid.name)));
    private.push(("sekat.payment.v1.PaymentIntent.name", id(&paid.payment_intent)));
    private.push(("sekat.account.v1.CreateSessionRequest.password", BUYER_PASSWORD.to_owned()));
    private.extend(app.caller.token.map(|token| (ACCESS_TOKEN, token)));
    Ok(Story {
        jaeger: running.jaeger.as_ref().map(|jaeger| format!("{jaeger}/trace/{}", trace.id())),
        trace_id: trace.id(),
        steps: app.steps,
        order: paid.name,
        payment_intent: paid.payment_intent,
        total: rupiah(paid.total.as_ref())?,
        ledger,
        elapsed_ms,
        private,
    })
}

struct App<'a> {
    running: &'a Running,
    showcase: Channel,
    commerce: Channel,
    caller: Caller,
    address: String,
    steps: Vec<Step>,
}

impl<'a> App<'a> {
    fn new(running: &'a Running) -> anyhow::Result<Self> {
        Ok(Self {
            running,
            showcase: public_channel(&running.showcase_edge, &running.web_authority)?,
            commerce: public_channel(&running.commerce_edge, &running.web_authority)?,
            caller: Caller::default(),
            address: String::new(),
            steps: Vec::new(),
        })
    }

    fn tell(&mut self, domain: &'static str, method: &str, outcome: String, details: Vec<String>) {
        self.steps.push(Step { domain, method: method.to_owned(), outcome, details, crossed: None });
    }

    /// Signs a new buyer up and in. Traces of their own: nothing of a person belongs to the purchase's trace.
    async fn sign_in(&mut self, buyer: &Buyer) -> anyhow::Result<()> {
        let email = buyer.email.clone();
        let person = account::Account {
            display_name: buyer.display_name.clone(),
            email: email.clone(),
            phone: buyer.phone.clone(),
            ..Default::default()
        };
        let request = account::CreateAccountRequest {
            account: Some(person),
            password: BUYER_PASSWORD.to_owned(),
            request_id: request_id(),
        };
        let signed_up = AccountServiceClient::new(self.commerce.clone())
            .create_account(self.caller.request(request)?)
            .await
            .map_err(|status| refused("signing up", &status))?
            .into_inner();
        let request = account::CreateSessionRequest {
            email,
            password: BUYER_PASSWORD.to_owned(),
            scope: account::SessionScope::Buyer.into(),
            request_id: request_id(),
        };
        let session = SessionServiceClient::new(self.commerce.clone())
            .create_session(self.caller.request(request)?)
            .await
            .map_err(|status| refused("signing in", &status))?
            .into_inner();
        self.caller = self.caller.signed_in(&session.access_token);
        let address = account::Address {
            receiver_name: buyer.receiver_name.clone(),
            phone: buyer.phone.clone(),
            street: buyer.street.clone(),
            district: buyer.district.clone(),
            city: buyer.city.clone(),
            province: buyer.province.clone(),
            postal_code: "55281".to_owned(),
            ..Default::default()
        };
        let request =
            account::CreateAddressRequest { parent: signed_up.name, address: Some(address), request_id: request_id() };
        let address = AddressServiceClient::new(self.commerce.clone())
            .create_address(self.caller.request(request)?)
            .await
            .map_err(|status| refused("adding an address", &status))?
            .into_inner();
        self.address = address.name;
        self.tell("commerce", "account.v1", "signed up, signed in, address added".to_owned(), Vec::new());
        Ok(())
    }

    /// Opens a showcase and taps buy on the first pins that can be had. Returns the handoff.
    async fn browse(&mut self) -> anyhow::Result<String> {
        // Browsing needs no token, and commerce's token is never shown to the showcase.
        let viewer = Caller { traceparent: self.caller.traceparent.clone(), token: None };
        let mut showcases = ShowcaseServiceClient::new(self.showcase.clone());
        let list = showcases
            .list_showcases(Caller::default().request(showcase::ListShowcasesRequest::default())?)
            .await
            .map_err(|status| refused("listing showcases", &status))?
            .into_inner();
        let first = list
            .showcases
            .first()
            .context("the mesh has no showcase: start it without --no-seed so that it gets some")?;
        let page = showcases
            .get_showcase(viewer.request(showcase::GetShowcaseRequest { name: first.name.clone() })?)
            .await
            .map_err(|status| refused("opening the showcase", &status))?
            .into_inner();
        let offered: Vec<&showcase::Pin> =
            page.pins.iter().filter(|pin| pin.stock_status() != showcase::StockStatus::Out).take(2).collect();
        if offered.is_empty() {
            bail!("every product of {} is sold out: seed a new data directory", page.display_name);
        }
        let mut details = Vec::new();
        for pin in &offered {
            details.push(format!(
                "{}, {}, sold by {}",
                pin.title,
                rupiah(pin.price.as_ref())?,
                pin.seller_display_name
            ));
        }
        let items = offered.iter().map(|pin| showcase::HandoffItem { pin: pin.name.clone(), quantity: 1 }).collect();
        self.tell("showcase", "ShowcaseService/GetShowcase", format!("opened “{}”", page.display_name), details);
        let handoff = HandoffServiceClient::new(self.showcase.clone())
            .create_handoff(viewer.request(showcase::CreateHandoffRequest { items, request_id: request_id() })?)
            .await
            .map_err(|status| refused("tapping buy", &status))?
            .into_inner();
        self.tell("showcase", "HandoffService/CreateHandoff", "tapped buy".to_owned(), Vec::new());
        if let Some(step) = self.steps.last_mut() {
            step.crossed = Some(decoded(&handoff.token)?);
        }
        Ok(handoff.token)
    }

    async fn fill_cart(&mut self, handoff: &str) -> anyhow::Result<order::Cart> {
        let request = order::CreateCartRequest { handoff: handoff.to_owned(), request_id: request_id() };
        let cart = CartServiceClient::new(self.commerce.clone())
            .create_cart(self.caller.request(request)?)
            .await
            .map_err(|status| refused("opening the cart", &status))?
            .into_inner();
        let total = rupiah(cart.total.as_ref())?;
        let lines = format!("cart of {} lines, {total}, priced afresh by commerce", cart.lines.len());
        self.tell("commerce", "CartService/CreateCart", lines, Vec::new());
        Ok(cart)
    }

    async fn place_order(&mut self, cart: &order::Cart) -> anyhow::Result<order::Order> {
        let mut orders = OrderServiceClient::new(self.commerce.clone());
        let request = order::QuoteOrderRequest { cart: cart.name.clone(), address: self.address.clone() };
        let quote = orders
            .quote_order(self.caller.request(request)?)
            .await
            .map_err(|status| refused("asking for a quote", &status))?
            .into_inner();
        let outcome =
            format!("{} with {} for shipping", rupiah(quote.total.as_ref())?, rupiah(quote.shipping_fee.as_ref())?);
        self.tell("commerce", "OrderService/QuoteOrder", outcome, Vec::new());
        let request = order::CreateOrderRequest {
            cart: cart.name.clone(),
            address: self.address.clone(),
            quote_hash: quote.quote_hash,
            request_id: request_id(),
        };
        let placed = orders
            .create_order(self.caller.request(request)?)
            .await
            .map_err(|status| refused("ordering", &status))?
            .into_inner();
        if placed.state() != order::OrderState::PendingPayment {
            bail!("the order is {:?} ({}) instead of waiting for the payment", placed.state(), placed.failure_reason);
        }
        self.tell("commerce", "OrderService/CreateOrder", "ordered; stock is held".to_owned(), Vec::new());
        Ok(placed)
    }

    /// Chooses a virtual account and returns its number.
    async fn choose_payment(&mut self, placed: &order::Order) -> anyhow::Result<String> {
        let method = payment::VirtualAccountMethod { bank: payment::Bank::Bca.into() };
        let request = payment::ConfirmPaymentIntentRequest {
            name: placed.payment_intent.clone(),
            method: Some(payment::confirm_payment_intent_request::Method::VirtualAccount(method)),
            request_id: request_id(),
        };
        let intent = PaymentIntentServiceClient::new(self.commerce.clone())
            .confirm_payment_intent(self.caller.request(request)?)
            .await
            .map_err(|status| refused("choosing how to pay", &status))?
            .into_inner();
        let action = intent.next_action.and_then(|next| next.action);
        let Some(payment::next_action::Action::VirtualAccountTransfer(transfer)) = action else {
            bail!("the payment is {} and names no virtual account", intent.state);
        };
        let number = transfer.account_number;
        let outcome = format!("pay to BCA virtual account {number}");
        self.tell("commerce", "PaymentIntentService/ConfirmPaymentIntent", outcome, Vec::new());
        Ok(number)
    }

    async fn pay(&mut self, placed: &order::Order, number: &str) -> anyhow::Result<()> {
        bank::pay(&self.running.bank_control, number).await?;
        let outcome =
            format!("transferred {} at the bank, which notifies notify-ingress", rupiah(placed.total.as_ref())?);
        self.tell("bank", "", outcome, Vec::new());
        Ok(())
    }

    async fn wait_until_paid(&mut self, placed: &order::Order) -> anyhow::Result<order::Order> {
        // Watching is a trace of its own: it only looks.
        let watcher = Caller { traceparent: None, token: self.caller.token.clone() };
        let mut orders = OrderServiceClient::new(self.commerce.clone());
        let mut events = orders
            .watch_order(watcher.request(order::WatchOrderRequest { name: placed.name.clone() })?)
            .await
            .map_err(|status| refused("watching the order", &status))?
            .into_inner();
        while let Some(event) = events.message().await.map_err(|status| refused("watching the order", &status))? {
            let Some(now) = event.order else { continue };
            match now.state() {
                order::OrderState::Paid => {
                    let outcome = "stock sold, payment captured, order PAID".to_owned();
                    self.tell("commerce", "OrderService/WatchOrder", outcome, Vec::new());
                    return Ok(now);
                }
                order::OrderState::Failed | order::OrderState::Expired | order::OrderState::Canceled => {
                    bail!("the order ended as {:?} ({})", now.state(), now.failure_reason)
                }
                _ => {}
            }
        }
        bail!("the order was not paid before the watch ended: look at the logs in the data directory")
    }
}

/// The ledger's lines of a payment, read by `ops` inside the mesh.
async fn ledger(running: &Running, payment_intent: &str) -> anyhow::Result<Vec<LedgerLine>> {
    let channel = mesh_channel(&running.payment, &running.ops_identity, sekat_api_payment::API.server_id).await?;
    let request =
        payment::ListLedgerTransfersRequest { payment_intent: payment_intent.to_owned(), ..Default::default() };
    let transfers = LedgerServiceClient::new(channel)
        .list_ledger_transfers(Caller::default().request(request)?)
        .await
        .map_err(|status| refused("reading the ledger", &status))?
        .into_inner()
        .transfers;
    transfers
        .into_iter()
        .map(|transfer| {
            let short = |name: &str| name.trim_start_matches("ledgerAccounts/").to_owned();
            Ok(LedgerLine {
                kind: transfer.kind().as_str_name().trim_start_matches("LEDGER_TRANSFER_KIND_").to_owned(),
                debit: short(&transfer.debit_account),
                credit: short(&transfer.credit_account),
                amount: rupiah(transfer.amount.as_ref())?,
            })
        })
        .collect()
}

/// The claims of a compact JWS, without judging its signature: that is commerce's business.
fn decoded(token: &str) -> anyhow::Result<serde_json::Value> {
    let payload = token.split('.').nth(1).context("the handoff is not a compact JWS")?;
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload)?;
    Ok(serde_json::from_slice(&json)?)
}

fn rupiah(money: Option<&WireMoney>) -> anyhow::Result<String> {
    let money = money.context("an amount is missing")?;
    Ok(Money::try_from(money.clone())?.to_string())
}
