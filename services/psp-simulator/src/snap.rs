//! The SNAP BI port: access tokens (service 73), virtual accounts created (27), queried (26) and deleted (31).
//!
//! Every transaction passes the same gate, in this order: headers, token, clock, signature, `X-EXTERNAL-ID`.

use crate::amount::Amount;
use crate::bank::{Bank, Failure};
use crate::book::{Charge, Refusal, Standing, State as ChargeState, Terms};
use crate::fault::Fault;
use crate::signature::{Transaction, body_digest, is_fresh, jakarta};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Far above the largest request of these services, which is about 1 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// SNAP BI's length of `X-EXTERNAL-ID`.
const MAX_EXTERNAL_ID_CHARS: usize = 36;
/// SNAP BI's length of `trxId`.
const MAX_TRX_ID_CHARS: usize = 64;
/// SNAP BI's length of `virtualAccountName`.
const MAX_NAME_CHARS: usize = 255;
/// SNAP BI's length of `customerNo`.
const MAX_CUSTOMER_NO_DIGITS: usize = 20;
/// The life of a virtual account whose request names no expiry.
const DEFAULT_LIFE: time::Duration = time::Duration::days(1);

/// A service by its number in the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Service {
    AccessToken = 73,
    Status = 26,
    CreateVa = 27,
    DeleteVa = 31,
}

/// Marks a response that must not reach the partner: the connection drops in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LostReply;

/// A refusal on the wire.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    case: u8,
    message: String,
}

impl Problem {
    fn new(status: StatusCode, case: u8, message: impl Into<String>) -> Self {
        Self { status, case, message: message.into() }
    }

    fn field(name: &str, rule: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 1, format!("Invalid Field Format {name}: {rule}"))
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let refusal = match failure {
            Failure::Refused(refusal) => refusal,
            Failure::Journal(_) | Failure::Random(_) => {
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, 1, "Internal Server Error");
            }
        };
        let (status, case) = match refusal {
            Refusal::TrxIdReused | Refusal::NumberTaken => (StatusCode::CONFLICT, 1),
            Refusal::Unknown => (StatusCode::NOT_FOUND, 12),
            Refusal::WrongAmount => (StatusCode::NOT_FOUND, 13),
            Refusal::Paid => (StatusCode::NOT_FOUND, 14),
            Refusal::Expired | Refusal::Cancelled => (StatusCode::NOT_FOUND, 19),
            Refusal::BadExpiry => (StatusCode::BAD_REQUEST, 1),
        };
        Self::new(status, case, refusal.to_string())
    }
}

/// The HTTPS port's routes.
pub(crate) fn router(bank: Arc<Bank>) -> Router {
    Router::new()
        .route("/openapi/v1.0/access-token/b2b", post(access_token))
        .route("/openapi/v1.0/transfer-va/create-va", post(create_va))
        .route("/openapi/v1.0/transfer-va/status", post(status))
        .route("/openapi/v1.0/transfer-va/delete-va", delete(delete_va))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(bank)
}

/// What all transaction handlers are given.
type Call = (Method, Uri, HeaderMap, Bytes);

async fn create_va(
    State(bank): State<Arc<Bank>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    transaction(&bank, Service::CreateVa, &(method, uri, headers, body), open).await
}

async fn status(State(bank): State<Arc<Bank>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    transaction(&bank, Service::Status, &(method, uri, headers, body), query).await
}

async fn delete_va(
    State(bank): State<Arc<Bank>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    transaction(&bank, Service::DeleteVa, &(method, uri, headers, body), cancel).await
}

async fn access_token(State(bank): State<Arc<Bank>>, headers: HeaderMap) -> Response {
    let service = Service::AccessToken;
    let granted = (|| {
        let client_id = header(&headers, "x-client-key")?;
        let timestamp = header(&headers, "x-timestamp")?;
        let signature = header(&headers, "x-signature")?;
        let is_genuine = client_id == bank.partner.client_id
            && is_fresh(timestamp, OffsetDateTime::now_utc())
            && bank.keys.token_request_is_genuine(client_id, timestamp, signature);
        if !is_genuine {
            return Err(Problem::new(StatusCode::UNAUTHORIZED, 0, "Unauthorized. Signature"));
        }
        bank.issue_token().map_err(|error| Failure::from(error).into())
    })();
    match granted {
        Ok(token) => success(
            service,
            json!({
                "accessToken": token,
                "tokenType": "BearerToken",
                // The standard has it as a string.
                "expiresIn": bank.partner.token_life.as_secs().to_string(),
            }),
        ),
        Err(problem) => refusal(service, &problem),
    }
}

async fn transaction(
    bank: &Arc<Bank>,
    service: Service,
    call: &Call,
    work: impl AsyncFnOnce(&Arc<Bank>, &Bytes) -> Result<Value, Problem>,
) -> Response {
    let outcome = match admit(bank, service, call) {
        Ok(()) => work(bank, &call.3).await,
        Err(problem) => Err(problem),
    };
    let mut response = match outcome {
        Ok(fields) => success(service, fields),
        Err(problem) => refusal(service, &problem),
    };
    if let Some(slow) = bank.faults.strike(Fault::Slow, Some(service)) {
        tokio::time::sleep(slow.delay()).await;
    }
    if bank.faults.strike(Fault::LostReply, Some(service)).is_some() {
        response.extensions_mut().insert(LostReply);
    }
    response
}

fn admit(bank: &Bank, service: Service, (method, uri, headers, body): &Call) -> Result<(), Problem> {
    let timestamp = header(headers, "x-timestamp")?;
    let signature = header(headers, "x-signature")?;
    let partner_id = header(headers, "x-partner-id")?;
    let external_id = header(headers, "x-external-id")?;
    header(headers, "channel-id")?;
    let token = header(headers, "authorization")?.strip_prefix("Bearer ").unwrap_or_default();
    if !bank.token_is_valid(token) {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, 1, "Invalid Token (B2B)"));
    }
    let now = OffsetDateTime::now_utc();
    let signed = Transaction { method: method.as_str(), path: uri.path(), token, body, timestamp };
    if partner_id != bank.partner.client_id
        || !is_fresh(timestamp, now)
        || !bank.keys.transaction_is_genuine(&signed, signature)
    {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, 0, "Unauthorized. Signature"));
    }
    let is_number = external_id.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || external_id.len() > MAX_EXTERNAL_ID_CHARS {
        return Err(Problem::field("X-EXTERNAL-ID", "up to 36 digits"));
    }
    if !bank.note_external_id(external_id, now) {
        return Err(Problem::new(StatusCode::CONFLICT, 0, "Conflict: the X-EXTERNAL-ID was used today"));
    }
    if bank.faults.strike(Fault::Refuse, Some(service)).is_some() {
        return Err(Problem::new(StatusCode::FORBIDDEN, 15, "Transaction Not Permitted"));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateVa {
    partner_service_id: String,
    customer_no: String,
    virtual_account_no: String,
    virtual_account_name: String,
    trx_id: String,
    total_amount: Amount,
    virtual_account_trx_type: String,
    expired_date: Option<String>,
}

async fn open(bank: &Arc<Bank>, body: &Bytes) -> Result<Value, Problem> {
    let request: CreateVa = parse(body)?;
    let now = OffsetDateTime::now_utc();
    check_number(bank, &request.partner_service_id, &request.customer_no, &request.virtual_account_no)?;
    if request.trx_id.is_empty() || request.trx_id.len() > MAX_TRX_ID_CHARS {
        return Err(Problem::field("trxId", "1 to 64 characters"));
    }
    if request.virtual_account_name.is_empty() || request.virtual_account_name.chars().count() > MAX_NAME_CHARS {
        return Err(Problem::field("virtualAccountName", "1 to 255 characters"));
    }
    if request.virtual_account_trx_type != "C" {
        return Err(Problem::field("virtualAccountTrxType", "C, a closed amount"));
    }
    let expires_at = match &request.expired_date {
        None => now + DEFAULT_LIFE,
        Some(text) => OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| Problem::field("expiredDate", "a date like 2025-01-31T10:55:00+07:00"))?,
    };
    let terms = Terms {
        trx_id: request.trx_id,
        partner_service_id: request.partner_service_id,
        customer_no: request.customer_no,
        name: request.virtual_account_name,
        amount: request.total_amount,
        expires_at,
        digest: body_digest(body),
    };
    let trx_id = terms.trx_id.clone();
    let charge = bank.change(|book| Ok((trx_id, book.open(terms, now)?))).await?;
    Ok(json!({ "virtualAccountData": account(&charge) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusQuery {
    partner_service_id: String,
    customer_no: String,
    virtual_account_no: String,
    #[serde(rename = "inquiryRequestId")]
    _inquiry_request_id: String,
}

async fn query(bank: &Arc<Bank>, body: &Bytes) -> Result<Value, Problem> {
    let request: StatusQuery = parse(body)?;
    check_number(bank, &request.partner_service_id, &request.customer_no, &request.virtual_account_no)?;
    let charge = bank.find(&request.virtual_account_no).await?;
    let standing = charge.standing(OffsetDateTime::now_utc());
    let (code, description) = match standing {
        Standing::Paid => ("00", "Success"),
        Standing::Unpaid => ("03", "Pending"),
        Standing::Cancelled => ("05", "Canceled"),
        Standing::Expired => ("06", "Failed: the bill expired"),
    };
    let mut data = account(&charge);
    if let (ChargeState::Paid(payment), Some(fields)) = (&charge.state, data.as_object_mut()) {
        fields.insert("paymentRequestId".to_owned(), json!(payment.payment_request_id));
        fields.insert("paidAmount".to_owned(), json!(payment.amount));
        fields.insert("trxDateTime".to_owned(), json!(jakarta(payment.paid_at)));
    }
    Ok(json!({
        "virtualAccountData": data,
        "additionalInfo": { "latestTransactionStatus": code, "transactionStatusDesc": description },
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeleteVa {
    partner_service_id: String,
    customer_no: String,
    virtual_account_no: String,
    trx_id: String,
}

async fn cancel(bank: &Arc<Bank>, body: &Bytes) -> Result<Value, Problem> {
    let request: DeleteVa = parse(body)?;
    check_number(bank, &request.partner_service_id, &request.customer_no, &request.virtual_account_no)?;
    let DeleteVa { virtual_account_no, trx_id, .. } = request;
    let charge = bank.change(|book| Ok((trx_id.clone(), book.cancel(&trx_id, &virtual_account_no)?))).await?;
    Ok(json!({ "virtualAccountData": account(&charge) }))
}

fn account(charge: &Charge) -> Value {
    let terms = &charge.terms;
    json!({
        "partnerServiceId": terms.partner_service_id,
        "customerNo": terms.customer_no,
        "virtualAccountNo": terms.virtual_account_no(),
        "virtualAccountName": terms.name,
        "trxId": terms.trx_id,
        "totalAmount": terms.amount,
        "virtualAccountTrxType": "C",
        "expiredDate": jakarta(terms.expires_at),
    })
}

fn check_number(bank: &Bank, service_id: &str, customer_no: &str, number: &str) -> Result<(), Problem> {
    if service_id != bank.partner.service_id {
        return Err(Problem::field("partnerServiceId", "the partner's code, 8 characters, padded on the left"));
    }
    let is_number = customer_no.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || customer_no.is_empty() || customer_no.len() > MAX_CUSTOMER_NO_DIGITS {
        return Err(Problem::field("customerNo", "1 to 20 digits"));
    }
    if number != format!("{service_id}{customer_no}") {
        return Err(Problem::field("virtualAccountNo", "partnerServiceId followed by customerNo"));
    }
    Ok(())
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, 2, format!("Invalid Mandatory Field: {error}")))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Problem> {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty());
    value.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, 2, format!("Invalid Mandatory Field {name}")))
}

fn success(service: Service, mut fields: Value) -> Response {
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("responseCode".to_owned(), json!(response_code(StatusCode::OK, service, 0)));
        fields.insert("responseMessage".to_owned(), json!("Successful"));
    }
    reply(StatusCode::OK, fields)
}

fn refusal(service: Service, problem: &Problem) -> Response {
    let Problem { status, case, message } = problem;
    let code = response_code(*status, service, *case);
    reply(*status, json!({ "responseCode": code, "responseMessage": message }))
}

fn reply(status: StatusCode, fields: Value) -> Response {
    (status, [("x-timestamp", jakarta(OffsetDateTime::now_utc()))], Json(fields)).into_response()
}

/// Three digits of HTTP status, two of service, two of case.
fn response_code(status: StatusCode, service: Service, case: u8) -> String {
    format!("{}{:02}{case:02}", status.as_u16(), service as u8)
}
