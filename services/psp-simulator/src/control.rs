//! The control port, for tests and demonstrations: pay as a buyer, arm faults, read the book. Plain HTTP on the
//! loopback interface, since whoever reaches it has money to spend.

use crate::amount::Amount;
use crate::bank::{Bank, Deliveries, Failure};
use crate::book::{Charge, Refusal, Standing, State as ChargeState};
use crate::fault::Armed;
use crate::signature::jakarta;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use time::OffsetDateTime;

/// The control port's routes.
pub(crate) fn router(bank: Arc<Bank>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/simulator/pay", post(pay))
        .route("/simulator/faults", post(arm).get(armed))
        .route("/simulator/release", post(release))
        .route("/simulator/charges", get(charges))
        .route("/simulator/tokens", get(tokens))
        .with_state(bank)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pay {
    /// With or without the padding.
    virtual_account_no: String,
    /// Like `25000.00`; the whole bill if absent.
    amount: Option<String>,
}

async fn pay(State(bank): State<Arc<Bank>>, Json(request): Json<Pay>) -> Response {
    let amount = match request.amount.as_deref().map(str::parse::<Amount>).transpose() {
        Ok(amount) => amount,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "bad-amount", &error.to_string()),
    };
    match bank.pay(&request.virtual_account_no, amount).await {
        Ok((charge, is_held)) => {
            let notification = if is_held { "held" } else { "sent" };
            let mut paid = json!(View::of(&charge, Deliveries::default()));
            if let Some(fields) = paid.as_object_mut() {
                fields.insert("notification".to_owned(), json!(notification));
            }
            Json(paid).into_response()
        }
        Err(Failure::Refused(refusal)) => {
            let (status, name) = match refusal {
                Refusal::Unknown => (StatusCode::NOT_FOUND, "unknown"),
                Refusal::Paid => (StatusCode::CONFLICT, "paid"),
                Refusal::Expired => (StatusCode::CONFLICT, "expired"),
                Refusal::Cancelled => (StatusCode::CONFLICT, "cancelled"),
                Refusal::WrongAmount => (StatusCode::CONFLICT, "wrong-amount"),
                Refusal::TrxIdReused | Refusal::NumberTaken | Refusal::BadExpiry => (StatusCode::CONFLICT, "refused"),
            };
            problem(status, name, &refusal.to_string())
        }
        Err(failure) => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &failure.to_string()),
    }
}

async fn arm(State(bank): State<Arc<Bank>>, Json(fault): Json<Armed>) -> Json<Vec<Armed>> {
    bank.faults.arm(fault);
    Json(bank.faults.armed())
}

async fn armed(State(bank): State<Arc<Bank>>) -> Json<Vec<Armed>> {
    Json(bank.faults.armed())
}

async fn release(State(bank): State<Arc<Bank>>) -> Response {
    Json(json!({ "released": bank.release() })).into_response()
}

async fn charges(State(bank): State<Arc<Bank>>) -> Json<Vec<View>> {
    Json(bank.charges().into_iter().map(|(charge, deliveries)| View::of(&charge, deliveries)).collect())
}

async fn tokens(State(bank): State<Arc<Bank>>) -> Response {
    Json(json!({ "issued": bank.tokens_issued() })).into_response()
}

/// A charge as the control port shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    trx_id: String,
    virtual_account_no: String,
    name: String,
    amount: Amount,
    expired_date: String,
    status: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_amount: Option<Amount>,
    /// Whether the partner confirmed a notification, ever.
    notified: bool,
    /// Deliveries tried since the bank started.
    notification_attempts: u32,
    /// Deliveries confirmed since the bank started.
    notifications_accepted: u32,
}

impl View {
    fn of(charge: &Charge, deliveries: Deliveries) -> Self {
        let payment = match &charge.state {
            ChargeState::Paid(payment) => Some(payment),
            ChargeState::Open | ChargeState::Cancelled => None,
        };
        Self {
            trx_id: charge.terms.trx_id.clone(),
            virtual_account_no: charge.terms.virtual_account_no(),
            name: charge.terms.name.clone(),
            amount: charge.terms.amount,
            expired_date: jakarta(charge.terms.expires_at),
            status: charge.standing(OffsetDateTime::now_utc()),
            payment_request_id: payment.map(|payment| payment.payment_request_id.clone()),
            paid_amount: payment.map(|payment| payment.amount),
            notified: payment.is_some_and(|payment| payment.notified),
            notification_attempts: deliveries.attempts,
            notifications_accepted: deliveries.accepted,
        }
    }
}

fn problem(status: StatusCode, name: &str, message: &str) -> Response {
    (status, Json(json!({ "error": name, "message": message }))).into_response()
}
