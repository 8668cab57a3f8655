//! What the process is told.

use std::path::PathBuf;

use sekat_mesh::Env;

/// Settings of the merchant service.
#[derive(Debug)]
pub struct Config {
    /// `SEKAT_DATA_DIR`: where the store is.
    pub data_dir: PathBuf,
    /// `SEKAT_INSTANCE`: the name of this instance in its access chain.
    pub instance: String,
}

impl Config {
    /// Reads the settings; what is wrong is collected in `env`.
    pub fn read(env: &mut Env) -> Self {
        Self {
            data_dir: env.required("SEKAT_DATA_DIR"),
            instance: env.optional("SEKAT_INSTANCE", "merchant-0".to_owned()),
        }
    }
}
