//! What the process is told.

use std::path::PathBuf;

use http::Uri;
use sekat_mesh::Env;

/// Settings of the connector: one relation with one bank.
#[derive(Debug)]
pub struct Config {
    /// `SEKAT_PSP_BCA_URL`: the bank's https URL, the only host that the process ever opens a connection to.
    pub url: Uri,
    /// `SEKAT_PSP_BCA_CA`: PEM file with the only certificates that may vouch for the bank's server.
    pub ca: PathBuf,
    /// `SEKAT_PSP_BCA_CLIENT_ID`: how the bank knows us.
    pub client_id: String,
    /// `SEKAT_PSP_BCA_CLIENT_SECRET_FILE`: file with the secret that we share with the bank.
    pub client_secret_file: PathBuf,
    /// `SEKAT_PSP_BCA_PRIVATE_KEY`: PEM file with our RSA key, PKCS #8.
    pub private_key: PathBuf,
    /// `SEKAT_PSP_BCA_BANK_PUBLIC_KEY`: PEM file with the RSA key that signs the bank's notifications.
    pub bank_public_key: PathBuf,
    /// `SEKAT_PSP_BCA_PARTNER_SERVICE_ID`: our company code at the bank, 1 to 8 digits.
    pub partner_service_id: String,
    /// `SEKAT_PSP_BCA_PAYEE`: the name that payers read, at most 255 characters.
    pub payee: String,
}

impl Config {
    /// Reads the settings; what is wrong is collected in `env`.
    pub fn read(env: &mut Env) -> Self {
        Self {
            url: https_url(env, "SEKAT_PSP_BCA_URL"),
            ca: env.required("SEKAT_PSP_BCA_CA"),
            client_id: env.required("SEKAT_PSP_BCA_CLIENT_ID"),
            client_secret_file: env.required("SEKAT_PSP_BCA_CLIENT_SECRET_FILE"),
            private_key: env.required("SEKAT_PSP_BCA_PRIVATE_KEY"),
            bank_public_key: env.required("SEKAT_PSP_BCA_BANK_PUBLIC_KEY"),
            partner_service_id: company_code(env, "SEKAT_PSP_BCA_PARTNER_SERVICE_ID"),
            payee: env.optional("SEKAT_PSP_BCA_PAYEE", "Sekat Niaga".to_owned()),
        }
    }
}

fn https_url(env: &mut Env, name: &str) -> Uri {
    let text: String = env.required(name);
    let url = text.parse::<Uri>().ok();
    let is_https = |url: &Uri| url.scheme_str() == Some("https") && url.host().is_some() && url.query().is_none();
    url.filter(is_https).unwrap_or_else(|| {
        // A missing value is reported already.
        if !text.is_empty() {
            env.problem(name, "must be an https URL without a query, for instance https://api.bank.example");
        }
        Uri::default()
    })
}

fn company_code(env: &mut Env, name: &str) -> String {
    let text: String = env.required(name);
    let is_code = text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    // Nothing at all is reported already, as missing.
    if !is_code {
        env.problem(name, "must be 1 to 8 digits");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 7] = [
        ("SEKAT_PSP_BCA_URL", "https://api.bank.example/snap"),
        ("SEKAT_PSP_BCA_CA", "ca.pem"),
        ("SEKAT_PSP_BCA_CLIENT_ID", "sekat"),
        ("SEKAT_PSP_BCA_CLIENT_SECRET_FILE", "secret"),
        ("SEKAT_PSP_BCA_PRIVATE_KEY", "key.pem"),
        ("SEKAT_PSP_BCA_BANK_PUBLIC_KEY", "bank.pem"),
        ("SEKAT_PSP_BCA_PARTNER_SERVICE_ID", "12345"),
    ];

    fn problems(change: &[(&str, &str)]) -> String {
        let mut env = Env::from_vars(GOOD.into_iter().chain(change.iter().copied()));
        Config::read(&mut env);
        env.finish().err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn only_https_and_a_company_code_are_taken() {
        assert_eq!(problems(&[]), "");
        for url in ["http://api.bank.example", "api.bank.example", "https://api.bank.example/?q", "https://"] {
            assert!(
                problems(&[("SEKAT_PSP_BCA_URL", url)]).contains("SEKAT_PSP_BCA_URL must be an https URL"),
                "{url}"
            );
        }
        for code in ["123456789", "12 45", "BCA"] {
            assert!(problems(&[("SEKAT_PSP_BCA_PARTNER_SERVICE_ID", code)]).contains("1 to 8 digits"), "{code}");
        }
    }

    #[test]
    fn all_that_is_missing_is_named_once() {
        let mut env = Env::from_vars::<String, String>([]);
        Config::read(&mut env);
        let report = env.finish().unwrap_err().to_string();
        for (name, _) in GOOD {
            assert_eq!(report.lines().filter(|line| line.starts_with(&format!("{name} "))).count(), 1, "{report}");
        }
    }
}
