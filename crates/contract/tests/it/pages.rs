//! Every code has its page: what it means, an example that triggers it, what `sekat` says, and the mend.
//!
//! An example is a change of something lawful: of the contracts in `crates/contract/src/lints/fixture`, of the shop in
//! `docs/policy/shop`, or of the manifests of that shop's crates, below. The mended block stands there literally; put the
//! faulty one in its place, and `sekat` finds what the page says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sekat_contract::check::{self, Meant};
use sekat_contract::{Deployment, breaking, image};
use sekat_policy::Diagnostic;
use tempfile::TempDir;

use crate::repository;

/// What the fixture's contracts import, besides Google's types that the compiler knows.
const IMPORTED: [&str; 4] = [
    "google/api/field_behavior.proto",
    "google/rpc/status.proto",
    "google/type/money.proto",
    "sekat/policy/v1/policy.proto",
];

/// The crates of the shop: what each says of itself, and what it depends on.
const CRATES: [(&str, &str, &[&str]); 4] = [
    ("order", "workloads = [\"order\"]", &["payment-contract", "shop-contract"]),
    ("showcase", "workloads = [\"showcase\"]", &["shop-contract"]),
    ("payment-contract", "api = [\"shop.payment.v1\"]", &[]),
    ("shop-contract", "api = [\"shop.v1\"]", &[]),
];

/// Something lawful on disk, in which a page's fault is planted.
pub(crate) enum Base {
    Contracts,
    Policy,
    Code,
}

/// A page, read.
struct Page {
    title: String,
    faulty: Vec<String>,
    mended: Vec<String>,
    says: Option<String>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut page = Self {
            title: text.lines().next().unwrap_or_default().to_owned(),
            faulty: Vec::new(),
            mended: Vec::new(),
            says: None,
        };
        for block in text.split("\n```").skip(1).step_by(2) {
            let (info, body) = block.split_once('\n').expect("a block has lines");
            match info.split_once(' ').map_or(info, |(_, role)| role) {
                "faulty" => page.faulty.push(body.to_owned()),
                "mended" => page.mended.push(body.to_owned()),
                _ => page.says = Some(body.to_owned()),
            }
        }
        page
    }

    fn changes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.faulty.iter().map(String::as_str).zip(self.mended.iter().map(String::as_str))
    }
}

impl Base {
    fn of(code: &str) -> Self {
        match code.as_bytes() {
            [b'S', b'K', b'0', b'0' | b'1', ..] => Self::Contracts,
            [b'S', b'K', b'0', b'3', b'3', _] => Self::Code,
            _ => Self::Policy,
        }
    }

    pub(crate) fn write(&self) -> TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        match self {
            Self::Contracts => {
                let fixture = repository("crates/contract/src/lints/fixture");
                for (from, to) in
                    [("bank", "bank/v1"), ("feed", "shop/feed/v1"), ("shop", "shop/v1"), ("topology", "topology/v1")]
                {
                    copy(&fixture.join(format!("{from}.proto")), &root.path().join(format!("sekat/{to}/{from}.proto")));
                }
                for import in IMPORTED {
                    copy(&repository("proto").join(import), &root.path().join(import));
                }
                let operations = root.path().join("google/longrunning/operations.proto");
                fs::create_dir_all(operations.parent().expect("a folder")).expect("created");
                fs::write(operations, "syntax = \"proto3\";\npackage google.longrunning;\n").expect("written");
            }
            Self::Policy => write_policy(root.path()),
            Self::Code => {
                write_policy(root.path());
                write_crates(root.path());
            }
        }
        root
    }

    fn findings(&self, code: &str, root: &Path) -> Vec<Diagnostic> {
        match self {
            Self::Contracts if code.starts_with("SK01") => {
                let lawful = Base::Contracts.write();
                let released = image(lawful.path()).expect("the fixture keeps the rules");
                breaking::compare(&released, &image(root).unwrap_or_else(|findings| panic!("{findings:#?}")))
            }
            Self::Contracts => check::run(&Meant::Contracts { root, deployment: &Deployment::default() }, None, None).1,
            Self::Policy => check::run(&Meant::Policy(&root.join("policy.yaml")), None, None).1,
            Self::Code => {
                let cargo = Command::new(env!("CARGO"))
                    .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
                    .current_dir(root)
                    .output()
                    .expect("cargo");
                let metadata = String::from_utf8_lossy(&cargo.stdout).into_owned();
                check::run(&Meant::Policy(&root.join("policy.yaml")), None, Some(&metadata)).1
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a folder")).expect("created");
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

fn write_policy(root: &Path) {
    for file in ["policy.yaml", "protos/payment.proto", "protos/shop.proto"] {
        copy(&repository("docs/policy/shop").join(file), &root.join(file));
    }
}

fn write_crates(root: &Path) {
    let members = CRATES.map(|(name, ..)| format!("\"{name}\"")).join(", ");
    fs::write(root.join("Cargo.toml"), format!("[workspace]\nmembers = [{members}]\n")).expect("written");
    for (name, says, links) in CRATES {
        let links: String = links.iter().map(|link| format!("{link} = {{ path = \"../{link}\" }}\n")).collect();
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [package.metadata.sekat]\n{says}\n\n[dependencies]\n{links}"
        );
        fs::create_dir_all(root.join(name).join("src")).expect("created");
        fs::write(root.join(name).join("Cargo.toml"), manifest).expect("written");
        fs::write(root.join(name).join("src/lib.rs"), "").expect("written");
    }
}

/// Puts `faulty` where `mended` stands, in whichever file that is.
fn plant(root: &Path, faulty: &str, mended: &str) {
    let mut places = 0;
    for file in files(root) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        places += text.matches(mended).count();
        fs::write(&file, text.replace(mended, faulty)).expect("written");
    }
    assert_eq!(places, 1, "the mended block stands once in what is lawful:\n{mended}");
}

fn files(root: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable")) {
            if entry.path().is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files
}

fn pages() -> BTreeMap<String, Page> {
    let folder = fs::read_dir(repository("docs/diagnostics")).expect("a folder");
    let paths = folder.map(|entry| entry.expect("readable").path());
    let pages = paths.filter_map(|path| {
        let code = path.file_stem()?.to_str().filter(|name| name.starts_with("SK"))?.to_owned();
        Some((code, Page::read(&path)))
    });
    pages.collect()
}

#[test]
fn every_code_has_its_page_and_its_rule_is_the_title() {
    let pages = pages();
    for (code, rule) in check::rules() {
        let title = pages.get(code).map(|page| page.title.as_str()).unwrap_or_default();
        assert_eq!(title, format!("# {code}: {rule}"));
    }
    let codes: BTreeSet<_> = check::rules().into_iter().map(|(code, _)| code.to_owned()).collect();
    // Later codes belong to other crates, which try their own examples.
    let ours = |code: &&String| code.as_str() < "SK0340";
    assert_eq!(pages.keys().filter(ours).cloned().collect::<BTreeSet<_>>(), codes);
}

#[test]
fn what_is_lawful_has_no_findings() {
    for (base, code) in [(Base::Contracts, "SK0001"), (Base::Contracts, "SK0101"), (Base::Policy, ""), (Base::Code, "")]
    {
        let findings = base.findings(code, base.write().path());
        assert!(findings.is_empty(), "{findings:#?}");
    }
}

#[test]
fn each_example_triggers_its_code_and_its_mended_twin_does_not() {
    let codes: BTreeSet<_> = check::rules().into_iter().map(|(code, _)| code).collect();
    let mut wrong = Vec::new();
    for (code, page) in pages().into_iter().filter(|(code, _)| codes.contains(code.as_str()) && code != "SK0101") {
        assert!(!page.faulty.is_empty() && page.faulty.len() == page.mended.len(), "{code} has examples in pairs");
        let base = Base::of(&code);
        let root = base.write();
        for (faulty, mended) in page.changes() {
            plant(root.path(), faulty, mended);
        }
        let findings = base.findings(&code, root.path());
        // Messages name files as they were given, and these lie in a folder of the test's own.
        let folder = format!("{}/", root.path().display());
        let said = findings.iter().filter(|finding| finding.code == code);
        let said: Vec<_> = said.map(|finding| finding.message.replace(&folder, "")).collect();
        let page_says = page.says.unwrap_or_default();
        if !said.contains(&page_says) {
            wrong.push(format!("the page of {code} says {page_says:?}, but sekat says {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_image_that_is_none_is_found() {
    let page = pages().remove("SK0101").expect("a page");
    let released = image(Base::Contracts.write().path()).expect("the fixture keeps the rules");
    let faulty = page.faulty.first().expect("an example");
    let findings = breaking::compare(faulty.as_bytes(), &released);
    assert_eq!(
        findings.iter().map(|it| (it.code, Some(&it.message))).collect::<Vec<_>>(),
        [("SK0101", page.says.as_ref())]
    );
    assert_eq!(breaking::compare(&released, &released), []);
}
