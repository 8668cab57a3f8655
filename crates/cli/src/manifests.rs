//! Manifests as verbs are told them: files, folders, and what kustomize makes of a folder that is its own.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use sekat_packets::{Cluster, read_texts};
use sekat_policy::{Diagnostic, Span};
use sekat_reach::{Source, UNREADABLE, gather};
use sekat_yaml::Node;

use crate::exit::Usage;

/// The names under which kustomize looks for its file.
const KUSTOMIZATION: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// The variable with the path of kustomize.
const VARIABLE: &str = "SEKAT_KUSTOMIZE";
/// The keys of a kustomization that lists files and changes nothing.
const PLAIN: [&str; 3] = ["apiVersion", "kind", "resources"];
/// The site file of a folder of manifests.
const SITE: &str = "site.yaml";
/// Kustomizations within each other; only links make more.
const DEPTH: usize = 16;

/// The texts of all manifests, and what cannot be read.
///
/// # Errors
/// If a folder has to be rendered and there is no kustomize.
pub(crate) fn sources(paths: &[PathBuf]) -> anyhow::Result<(Vec<Source>, Vec<Diagnostic>)> {
    let (mut sources, mut findings) = (Vec::new(), Vec::new());
    for path in paths {
        let (read, found) = match Folder::of(path) {
            Folder::Kustomization => match kustomized(path)? {
                Ok(text) => (vec![Source { name: format!("{} (rendered)", path.display()), text }], Vec::new()),
                Err(finding) => (Vec::new(), vec![finding]),
            },
            Folder::List(files) => gather(&files),
            Folder::None => gather(std::slice::from_ref(path)),
        };
        sources.extend(read);
        findings.extend(found);
    }
    Ok((sources, findings))
}

/// The pods and policies that packets are tried with.
///
/// # Errors
/// If a folder has to be rendered and there is no kustomize.
pub(crate) fn cluster(paths: &[PathBuf]) -> anyhow::Result<(Cluster, Vec<Diagnostic>)> {
    if !paths.iter().any(|path| matches!(Folder::of(path), Folder::Kustomization)) {
        return Ok(sekat_packets::read(paths));
    }
    let (sources, mut found) = sources(paths)?;
    let (cluster, more) = read_texts(sources.iter().map(|source| (source.name.as_str(), source.text.as_str())));
    found.extend(more);
    Ok((cluster, found))
}

/// What kustomize makes of a path, if it is a folder that only kustomize can read.
///
/// # Errors
/// If there is no kustomize.
pub(crate) fn rendered(path: &Path) -> anyhow::Result<Option<Result<String, Diagnostic>>> {
    match Folder::of(path) {
        Folder::Kustomization => kustomized(path).map(Some),
        Folder::List(_) | Folder::None => Ok(None),
    }
}

/// The site file beside manifests: `site.yaml` in one of their folders.
///
/// # Errors
/// If several folders have one, and it would have to be guessed which place is meant.
pub(crate) fn site(paths: &[PathBuf]) -> anyhow::Result<Option<PathBuf>> {
    let sites: Vec<PathBuf> = paths.iter().map(|path| path.join(SITE)).filter(|site| site.is_file()).collect();
    if let [first, second, ..] = sites.as_slice() {
        let message = format!("two site files, {} and {}: name one with --site", first.display(), second.display());
        return Err(Usage(message).into());
    }
    Ok(sites.into_iter().next())
}

/// What a path means to kustomize.
enum Folder {
    /// Nothing.
    None,
    /// These files, as they are: findings can name their lines, and nobody needs kustomize.
    List(Vec<PathBuf>),
    /// What only kustomize can say.
    Kustomization,
}

impl Folder {
    fn of(path: &Path) -> Self {
        match kustomization(path) {
            None => Self::None,
            Some(file) => listed(path, &file, DEPTH).map_or(Self::Kustomization, Self::List),
        }
    }
}

fn kustomization(folder: &Path) -> Option<PathBuf> {
    KUSTOMIZATION.iter().map(|name| folder.join(name)).find(|file| file.is_file())
}

/// The files of a kustomization that does nothing but list them; nothing if there may be more to it.
fn listed(folder: &Path, file: &Path, depth: usize) -> Option<Vec<PathBuf>> {
    let text = std::fs::read_to_string(file).ok()?;
    let documents: Vec<Node> = sekat_yaml::documents("", &text).collect::<Result<_, _>>().ok()?;
    let [root] = documents.as_slice() else { return None };
    if !root.map("").ok()?.iter().all(|(key, _)| PLAIN.contains(&key.name.as_str())) {
        return None;
    }
    let mut files = Vec::new();
    for resource in root.get("resources")?.list("").ok()? {
        let path = folder.join(resource.text("").ok()?);
        if path.is_dir() {
            files.extend(listed(&path, &kustomization(&path)?, depth.checked_sub(1)?)?);
        } else if path.is_file() {
            files.push(path);
        } else {
            return None;
        }
    }
    Some(files)
}

/// What kustomize makes of a folder: by `$SEKAT_KUSTOMIZE`, else by the first of `kustomize` and `kubectl` on the path.
fn kustomized(folder: &Path) -> anyhow::Result<Result<String, Diagnostic>> {
    let named = std::env::var_os(VARIABLE).filter(|program| !program.is_empty());
    let programs = match &named {
        Some(program) => vec![(program.as_os_str(), "build")],
        None => vec![("kustomize".as_ref(), "build"), ("kubectl".as_ref(), "kustomize")],
    };
    for (program, verb) in programs {
        let finding = |message: String, help: &str| {
            let span = Span { file: folder.display().to_string(), ..Span::default() };
            Diagnostic::error(UNREADABLE, span, message, help)
        };
        match Command::new(program).arg(verb).arg(folder).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!("{} cannot be started: {error}", program.display());
                return Ok(Err(finding(message, "check its path and permissions")));
            }
            Ok(output) if !output.status.success() => {
                let said = String::from_utf8_lossy(&output.stderr);
                let message = format!("{} does not render it: {}", program.display(), said.trim());
                return Ok(Err(finding(message, "mend the kustomization until it renders")));
            }
            Ok(output) => {
                let text = String::from_utf8(output.stdout);
                return Ok(text.map_err(|_| finding("it renders to text that is not UTF-8".to_owned(), "mend it")));
            }
        }
    }
    let tried = named.map_or_else(
        || "neither `kustomize` nor `kubectl` is on the path".to_owned(),
        |program| format!("{VARIABLE} names {}, which does not exist", program.display()),
    );
    let message = format!(
        "{} is a kustomization that has to be rendered, and {tried}: install one of them, or give {VARIABLE} the path \
         of kustomize (`cargo xtask tools` prints it)",
        folder.display()
    );
    Err(Usage(message).into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("created");
            fs::write(path, text).expect("written");
        }
        root
    }

    #[track_caller]
    fn lists(files: &[(&str, &str)]) -> Option<Vec<String>> {
        let root = folder(files);
        let Folder::List(found) = Folder::of(root.path()) else { return None };
        let name = |path: &PathBuf| path.strip_prefix(root.path()).expect("inside").display().to_string();
        Some(found.iter().map(name).collect())
    }

    const POD: (&str, &str) = ("app/pod.yaml", "kind: Pod");
    const APP: (&str, &str) = ("app/kustomization.yaml", "resources: [pod.yaml]");

    #[test]
    fn what_only_lists_files_is_read_as_they_are() {
        let root = ("kustomization.yaml", "kind: Kustomization\nresources:\n- app\n- more.yaml\n");
        let more = ("more.yaml", "");
        let found = lists(&[root, APP, POD, more, ("unlisted.yaml", "kind: Pod")]);
        assert_eq!(found, Some(vec!["app/pod.yaml".to_owned(), "more.yaml".to_owned()]));
    }

    #[test]
    fn what_changes_files_or_names_what_is_not_here_is_for_kustomize() {
        for root in [
            "resources: [app]\nnamePrefix: x-",
            "resources: [app]\npatches: []",
            "resources: [app, 'https://example.com/base']",
            "resources: [app, gone.yaml]",
            "resources: [.]",
            "resources: [app]\n---\nresources: []",
            "resources: [",
            "kind: Kustomization",
        ] {
            assert_eq!(lists(&[("kustomization.yaml", root), APP, POD]), None, "{root}");
        }
        let patched = ("app/kustomization.yaml", "resources: [pod.yaml]\nimages: []");
        assert_eq!(lists(&[("kustomization.yaml", "resources: [app]"), patched, POD]), None);
        assert!(matches!(Folder::of(folder(&[POD]).path()), Folder::None));
    }

    #[test]
    fn the_site_of_one_folder_is_found_and_that_of_two_is_asked_for() {
        let (with, other, without) = (folder(&[("site.yaml", "")]), folder(&[("site.yaml", "")]), folder(&[POD]));
        let found = |folders: &[&tempfile::TempDir]| {
            site(&folders.iter().map(|folder| folder.path().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(found(&[&without]).expect("none"), None);
        assert_eq!(found(&[&without, &with]).expect("one"), Some(with.path().join("site.yaml")));
        let error = found(&[&with, &other]).expect_err("two");
        assert!(error.is::<Usage>() && error.to_string().contains("--site"), "{error}");
    }
}
