//! Generates the method tables of the three roles from `proto/`; fails if a contract breaks a rule.

fn main() -> std::process::ExitCode {
    sekat_contract::build::routes(&["showcase-edge", "commerce-edge", "notify-ingress"])
}
