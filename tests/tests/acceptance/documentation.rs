//! What the documentation tells people to type works as it stands.

use std::process::Command;

use acceptance::Mesh;
use acceptance::cli::{repository, run, tool};

#[test]
fn a_stranger_orders_with_grpcurl_and_the_contracts_alone() {
    let Some(grpcurl) = tool("SEKAT_GRPCURL", "ordering with grpcurl and the .proto files alone") else { return };
    let page = std::fs::read_to_string(repository().join("docs/clients.md")).expect("the page is there");
    let commands = shell_blocks(&page);
    assert!(commands.matches("call \"$COMMERCE\"").count() > 5, "the page has the commands:\n{commands}");
    let mesh = Mesh::shared();
    let running = mesh.running();
    let path = std::env::var("PATH").unwrap_or_default();
    let folder = grpcurl.parent().expect("a program lies in a folder").display();
    // Somewhere else than in the repository, where the page leaves two files for a moment.
    let scratch = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(repository().join("proto").canonicalize().unwrap(), scratch.path().join("proto"))
        .unwrap();
    let script = format!("set -euo pipefail\n{commands}");
    let ran = run(Command::new("bash")
        .args(["-c", &script])
        .current_dir(scratch.path())
        .env("PATH", format!("{folder}:{path}"))
        .env("SHOWCASE", &running.showcase_edge)
        .env("COMMERCE", &running.commerce_edge)
        .env("BANK", &running.bank_control)
        .env("DATA", mesh.data()));
    assert_eq!(ran.code, Some(0), "the page's commands fail:\n{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout.matches("ORDER_STATE_PAID").count(), 2, "watched and read: {}", ran.stdout);
    for code in ["Code: Unauthenticated", "Code: PermissionDenied"] {
        assert_eq!(ran.stderr.matches(code).count(), 1, "{code}: {}", ran.stderr);
    }
}

/// The contents of the page's `sh` blocks, one after the other.
fn shell_blocks(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).collect()
}
