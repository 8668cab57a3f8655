//! What the process is told.

use std::path::PathBuf;

use sekat_mesh::Env;

/// Settings of the catalog service.
#[derive(Debug)]
pub struct Config {
    /// `SEKAT_DATA_DIR`: where the store is.
    pub data_dir: PathBuf,
    /// `SEKAT_INSTANCE`: the name of this instance in its access chain.
    pub instance: String,
    /// `SEKAT_OPERATOR`: the public name of the marketplace's operator, shown with every product.
    pub operator: String,
}

impl Config {
    /// Reads the settings; what is wrong is collected in `env`.
    pub fn read(env: &mut Env) -> Self {
        Self {
            data_dir: env.required("SEKAT_DATA_DIR"),
            instance: env.optional("SEKAT_INSTANCE", "catalog-0".to_owned()),
            operator: env.optional("SEKAT_OPERATOR", "Sekat Niaga".to_owned()),
        }
    }
}
