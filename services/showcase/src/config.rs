//! What the process is told.

use std::path::PathBuf;

use sekat_mesh::Env;

/// Settings of the showcase service.
#[derive(Debug)]
pub struct Config {
    /// `SEKAT_DATA_DIR`: where the store is.
    pub data_dir: PathBuf,
    /// `SEKAT_INSTANCE`: the name of this instance.
    pub instance: String,
    /// `SEKAT_HANDOFF_KEY_FILE`: the Ed25519 key that signs handoffs, PKCS #8 PEM.
    pub handoff_key_file: PathBuf,
    /// `SEKAT_OPERATOR`: the public name of the showcase's operator, shown with every page.
    pub operator: String,
}

impl Config {
    /// Reads the settings; what is wrong is collected in `env`.
    pub fn read(env: &mut Env) -> Self {
        Self {
            data_dir: env.required("SEKAT_DATA_DIR"),
            instance: env.optional("SEKAT_INSTANCE", "showcase-0".to_owned()),
            handoff_key_file: env.required("SEKAT_HANDOFF_KEY_FILE"),
            operator: env.optional("SEKAT_OPERATOR", "Sekat Etalase".to_owned()),
        }
    }
}
