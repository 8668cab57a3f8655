//! The bank as a program: start, say where it listens, run until a signal or until the journal fails.

use clap::Parser as _;
use sekat_psp_simulator::Config;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Config::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bank: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let stdin_end = stdin_end(config.exit_with_stdin)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut bank = sekat_psp_simulator::start(config).await?;
    eprintln!("bank: https://{} for partners, http://{} to control it", bank.bank_addr(), bank.control_addr());
    tokio::select! {
        error = bank.failed() => return Err(error.into()),
        _ = terminate.recv() => {}
        () = stdin_end => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    bank.stop().await;
    Ok(())
}

/// Ready when standard input is at its end, if that counts: whoever started the bank is then gone.
fn stdin_end(counts: bool) -> std::io::Result<impl Future<Output = ()>> {
    let (ended, end) = tokio::sync::oneshot::channel();
    if counts {
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            // An error is an end too.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            let _ = ended.send(());
        })?;
    }
    Ok(async move {
        if !counts || end.await.is_err() {
            std::future::pending().await
        }
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
