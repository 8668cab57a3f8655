//! The program itself: flags, ready file, a real kill.

use crate::world::{PATIENCE, World, create_body, number};
use axum::http::Method;
use sekat_psp_simulator::Config;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Kills its process when the test ends, however it ends.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Program {
    fn start(config: &Config, ready: &std::path::Path) -> (Self, Value) {
        let _ = std::fs::remove_file(ready);
        let child = Command::new(env!("CARGO_BIN_EXE_sekat-psp-simulator"))
            .args(["--client-id", &config.client_id, "--partner-service-id", &config.partner_service_id])
            .arg("--tls-cert")
            .arg(&config.tls_cert)
            .arg("--tls-key")
            .arg(&config.tls_key)
            .arg("--client-secret-file")
            .arg(&config.client_secret_file)
            .arg("--partner-public-key")
            .arg(&config.partner_public_key)
            .arg("--private-key")
            .arg(&config.private_key)
            .args(["--notify-url", &config.notify_url.to_string()])
            .arg("--notify-ca")
            .arg(&config.notify_ca)
            .arg("--journal")
            .arg(ready.with_extension("jsonl"))
            .arg("--ready-file")
            .arg(ready)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let program = Self(child);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(content) = std::fs::read(ready) {
                return (program, serde_json::from_slice(&content).unwrap());
            }
            assert!(Instant::now() < deadline, "the bank did not become ready");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

#[tokio::test]
async fn a_killed_bank_still_has_its_charges() {
    let mut world = World::start().await;
    let ready = world.directory().join("ready.json");
    let (program, addresses) = Program::start(world.config(), &ready);
    world.visit(&addresses);
    assert_eq!(world.call(Method::POST, crate::world::CREATE, &create_body("charge-1")).await.code(), "2002700");
    drop(program);

    let (_program, addresses) = Program::start(world.config(), &ready);
    world.visit(&addresses);
    assert_eq!(world.charge("charge-1").await["status"], "UNPAID");
    assert_eq!(world.pay(json!({ "virtualAccountNo": number("charge-1") })).await.status, 200);
    world.until("charge-1", |charge| charge["notified"] == true).await;
}

#[test]
fn missing_flags_are_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_sekat-psp-simulator")).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for flag in ["--tls-cert", "--client-secret-file", "--private-key", "--notify-url", "--journal"] {
        assert!(message.contains(flag), "{message}");
    }
}
