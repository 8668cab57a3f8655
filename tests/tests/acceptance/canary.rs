//! Values that nobody else has are planted into everything that is classified, a whole life of a shop is lived, with
//! its mistakes, and then every byte is searched that is not commerce's own store: none of them is there, in any
//! common encoding.

mod journey;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use acceptance::{Mesh, Options, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::canaries::Search;
use crate::support::stores::hex;
use journey::Canaries;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_classified_is_in_telemetry_logs_or_processes_nor_anywhere_in_the_showcase_domain() {
    let mut mesh = Mesh::start(Options::empty());
    let mut canaries = journey::live(&mesh).await;
    canaries.extend(secrets(&mesh.data()));
    let mut search = Search::default();
    for (what, value) in &canaries {
        search.add(what, value);
    }

    let running = mesh.running();
    let pids: Vec<u32> = running.pids.values().copied().chain([running.pid]).collect();
    let mut hits = in_processes(&search, &pids);
    // What stops writes all that it still holds.
    assert!(mesh.stop().await.success());
    hits.extend(in_files(&search, &mesh));
    hits.sort();
    hits.dedup();
    assert!(hits.is_empty(), "{} hits:\n{}", hits.len(), hits.join("\n"));

    the_search_finds_what_is_planted(&search, &mesh, &canaries).await;
}

/// Command lines and environments.
fn in_processes(search: &Search, pids: &[u32]) -> Vec<String> {
    let files = pids.iter().flat_map(|pid| ["environ", "cmdline"].map(|file| format!("/proc/{pid}/{file}")));
    files.flat_map(|path| search.hits(&path, &fs::read(&path).expect("the process is there"))).collect()
}

/// Spans, logs, counters, what `sekat up` said, and all that the showcase domain keeps.
fn in_files(search: &Search, mesh: &Mesh) -> Vec<String> {
    let data = mesh.data();
    let mut hits = search.hits("up's own words", mesh.up_said().as_bytes());
    for folder in ["traces", "logs", "stores/showcase", "stores/showcase-edge"] {
        hits.extend(search.hits_below(&data.join(folder)));
    }
    for store in fs::read_dir(data.join("stores")).unwrap().map(Result::unwrap) {
        for file in fs::read_dir(store.path()).unwrap().map(Result::unwrap) {
            if file.file_name().as_encoded_bytes().ends_with(b".counters.json") {
                let place = file.path().display().to_string();
                hits.extend(search.hits(&place, &fs::read(file.path()).unwrap()));
            }
        }
    }
    hits
}

/// Private keys and the secret shared with the bank.
fn secrets(data: &Path) -> Canaries {
    let mut found = Canaries::new();
    for folder in ["secrets", "identities", "authorities"] {
        for owner in fs::read_dir(data.join(folder)).unwrap().map(Result::unwrap) {
            for file in fs::read_dir(owner.path()).unwrap().map(Result::unwrap) {
                let name = file.path().strip_prefix(data).unwrap().display().to_string();
                let text = || fs::read_to_string(file.path()).unwrap();
                match name.rsplit(['.', '/']).next() {
                    // The first line between the lines of dashes.
                    Some("key") => found.push((name.clone(), text().lines().nth(1).unwrap().to_owned())),
                    Some("client-secret") => found.push((name.clone(), text())),
                    _ => {}
                }
            }
        }
    }
    assert!(found.len() > 15, "the secrets of all processes: {found:?}");
    found
}

/// The search would have found each of them, wherever it looked.
async fn the_search_finds_what_is_planted(search: &Search, mesh: &Mesh, canaries: &Canaries) {
    let all: String = canaries.iter().map(|(_, value)| format!("<{value}>")).collect();
    let data = mesh.data();
    let forms = [
        ("traces/planted.otlp", all.clone()),
        ("logs/planted.log", STANDARD.encode(&all)),
        ("stores/showcase/planted.db", hex(all.as_bytes())),
        ("stores/showcase-edge/planted", all.clone()),
        ("stores/payment/planted.counters.json", all.clone()),
    ];
    for (file, form) in forms {
        let path = data.join(file);
        fs::write(&path, form).unwrap();
        let hits = in_files(search, mesh);
        for (what, _) in canaries {
            assert!(hits.iter().any(|hit| hit.starts_with(what.as_str())), "{what} planted in {file} is not found");
        }
        fs::remove_file(&path).unwrap();
    }
    let (what, value) = &canaries[0];
    for (variable, argument) in [(value.as_str(), "x"), ("x", value.as_str())] {
        // It waits for its standard input to end.
        let mut carrier = Command::new("sh")
            .args(["-c", "read -r line", argument])
            .env("PLANTED", variable)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // The kernel shows a new process's arguments a moment after it has begun.
        eventually(&format!("{what} is found in a process"), async || {
            in_processes(search, &[carrier.id()]).iter().any(|hit| hit.starts_with(what.as_str())).then_some(())
        })
        .await;
        carrier.kill().unwrap();
        carrier.wait().unwrap();
    }
}
