//! What the bank is told when it starts. Keys come from files only, so that no list of processes shows one.

use axum::http::Uri;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A bank that speaks SNAP BI, for tests and demonstrations.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "sekat-psp-simulator", version, max_term_width = 100)]
pub struct Config {
    /// Address of the HTTPS port for partners; port 0 takes a free one.
    #[arg(long, env = "BANK_LISTEN", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Address of the plain control port; must be a loopback address.
    #[arg(long, env = "BANK_CONTROL_LISTEN", default_value = "127.0.0.1:0")]
    pub control_listen: SocketAddr,
    /// PEM file with the certificate chain of the HTTPS port.
    #[arg(long, env = "BANK_TLS_CERT", value_name = "FILE")]
    pub tls_cert: PathBuf,
    /// PEM file with the private key of the HTTPS port.
    #[arg(long, env = "BANK_TLS_KEY", value_name = "FILE")]
    pub tls_key: PathBuf,
    /// The partner's X-CLIENT-KEY and X-PARTNER-ID.
    #[arg(long, env = "BANK_CLIENT_ID", value_name = "ID")]
    pub client_id: String,
    /// The partner's company code, up to 8 digits; its virtual account numbers start with it.
    #[arg(long, env = "BANK_PARTNER_SERVICE_ID", value_name = "DIGITS", value_parser = service_id)]
    pub partner_service_id: String,
    /// File with the secret that the bank shares with the partner.
    #[arg(long, env = "BANK_CLIENT_SECRET_FILE", value_name = "FILE")]
    pub client_secret_file: PathBuf,
    /// PEM file with the partner's RSA public key ("PUBLIC KEY").
    #[arg(long, env = "BANK_PARTNER_PUBLIC_KEY", value_name = "FILE")]
    pub partner_public_key: PathBuf,
    /// PEM file with the bank's RSA private key ("PRIVATE KEY", PKCS #8), which signs notifications.
    #[arg(long, env = "BANK_PRIVATE_KEY", value_name = "FILE")]
    pub private_key: PathBuf,
    /// The partner's https URL for notifications; /v1.0/transfer-va/payment is appended.
    #[arg(long, env = "BANK_NOTIFY_URL", value_name = "URL", value_parser = notify_url)]
    pub notify_url: Uri,
    /// PEM file with the CA certificates that may vouch for the partner's server.
    #[arg(long, env = "BANK_NOTIFY_CA", value_name = "FILE")]
    pub notify_ca: PathBuf,
    /// File that keeps the charges; made if absent.
    #[arg(long, env = "BANK_JOURNAL", value_name = "FILE")]
    pub journal: PathBuf,
    /// How often a notification is tried before the bank gives up until its next start.
    #[arg(long, env = "BANK_NOTIFY_ATTEMPTS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub notify_attempts: u32,
    /// The life of an access token in seconds.
    #[arg(long, env = "BANK_TOKEN_SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub token_seconds: u64,
    /// File to write the bound addresses to, as JSON with "bank" and "control", when the bank is ready.
    #[arg(long, env = "BANK_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Stop when standard input ends, because whoever started the bank is gone.
    #[arg(long)]
    pub exit_with_stdin: bool,
}

fn service_id(text: &str) -> Result<String, String> {
    let is_code = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_code { Ok(text.to_owned()) } else { Err("1 to 8 digits are needed".to_owned()) }
}

fn notify_url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    let is_https = uri.scheme_str() == Some("https") && uri.authority().is_some() && uri.query().is_none();
    if is_https { Ok(uri) } else { Err("an https URL without a query is needed".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_company_codes_and_https_urls_are_taken() {
        assert!(service_id("12345").is_ok());
        for bad in ["", "123456789", "12 45", "x"] {
            assert!(service_id(bad).is_err(), "{bad}");
        }
        assert!(notify_url("https://localhost:8443/bca").is_ok());
        for bad in ["http://localhost", "/path", "https://localhost/?a=1", "localhost:1"] {
            assert!(notify_url(bad).is_err(), "{bad}");
        }
    }
}
