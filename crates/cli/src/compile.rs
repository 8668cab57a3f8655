//! `sekat compile`: what is meant as the policies of a cluster or a mesh, read back before anybody uses them.

use std::io::Write as _;
use std::path::PathBuf;

use anstream::eprintln;
use anyhow::{Context, ensure};
use sekat_compile::{Compiled, Target, compile, folder, round_trip};

use crate::exit::Exit;
use crate::findings;
use crate::meant::Meant;

/// Flags of `sekat compile`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    meant: Meant,
    /// For whom: kubernetes, cnp, istio, istio-ambient, linkerd, cilium, grpc-rbac or envoy.
    #[arg(long)]
    target: Target,
    /// The folder to write into. Without it everything goes to standard output.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only the files that the site adds or changes: what an overlay brings beside the policies of every place.
    #[arg(long, requires = "site")]
    site_only: bool,
    /// Write nothing; exit with 3 if the files in --out are not what is meant.
    #[arg(long, requires = "out")]
    check: bool,
}

/// Compiles, reads back, and writes only what was read back as meant.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let intent = match args.meant.sound()? {
        Ok(intent) => intent,
        Err(exit) => return Ok(exit),
    };
    let (mut compiled, mut found) = compile(&intent, args.target);
    if found.is_empty() {
        found = round_trip(&intent, &compiled);
    }
    if args.site_only {
        match args.meant.anywhere().sound()? {
            Ok(anywhere) => compiled.subtract(&compile(&anywhere, args.target).0),
            Err(exit) => return Ok(exit),
        }
    }
    if let (true, Some(folder), true) = (found.is_empty(), &args.out, args.check) {
        let site = args.meant.site().map(|site| format!(" --site {}", site.display())).unwrap_or_default();
        let only = if args.site_only { " --site-only" } else { "" };
        let to = folder.display();
        let help = format!("`sekat compile --target {}{site}{only} --out {to}` writes it", args.target.name());
        found = folder::stale(&compiled, folder, &help);
    }
    findings::tell(&found)?;
    if !found.is_empty() {
        return Ok(findings::exit(&found));
    }
    write(args, &compiled)?;
    for loss in &compiled.losses {
        eprintln!("note: {loss}");
    }
    Ok(Exit::Holds)
}

fn write(args: &Args, compiled: &Compiled) -> anyhow::Result<()> {
    match &args.out {
        Some(_) if args.check => eprintln!("{} files are what is meant", compiled.files.len()),
        Some(folder) => {
            folder::write(compiled, folder).with_context(|| format!("{} cannot be written", folder.display()))?;
            eprintln!("{} files in {}", compiled.files.len(), folder.display());
        }
        None => {
            let is_json = compiled.files.iter().any(|file| file.name.ends_with(".json"));
            ensure!(!is_json || compiled.files.len() == 1, "several JSON files: name a folder for them with --out");
            let mut out = std::io::stdout().lock();
            compiled.files.iter().try_for_each(|file| out.write_all(file.text.as_bytes()))?;
        }
    }
    Ok(())
}
