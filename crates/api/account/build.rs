//! Generates the contract's code from `proto/`; fails if the contract breaks a rule.

fn main() -> std::process::ExitCode {
    sekat_contract::build::api("sekat.account.v1")
}
