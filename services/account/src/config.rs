//! What the process is told.

use std::path::PathBuf;

use sekat_mesh::Env;

/// Settings of the account service.
#[derive(Debug)]
pub struct Config {
    /// `SEKAT_DATA_DIR`: where the store is.
    pub data_dir: PathBuf,
    /// `SEKAT_INSTANCE`: the name of this instance in its access chain.
    pub instance: String,
    /// `SEKAT_TOKEN_KEY_FILE`: the Ed25519 key that signs end users' tokens, PKCS #8 PEM.
    pub token_key_file: PathBuf,
}

impl Config {
    /// Reads the settings; what is wrong is collected in `env`.
    pub fn read(env: &mut Env) -> Self {
        Self {
            data_dir: env.required("SEKAT_DATA_DIR"),
            instance: env.optional("SEKAT_INSTANCE", "account-0".to_owned()),
            token_key_file: env.required("SEKAT_TOKEN_KEY_FILE"),
        }
    }
}
