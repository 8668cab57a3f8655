//! Generates Google's types that contracts use.

fn main() -> std::process::ExitCode {
    sekat_contract::build::google()
}
