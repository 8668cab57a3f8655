//! Files that appear whole or not at all, and identity directories that change in one step.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{CaError, Issued};
use crate::id::check_trust_domain;
use crate::source::DATA_LINK;

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Writes an identity directory (mode 0700, files 0600), or replaces what it holds, in one step: the files go into a
/// fresh version directory, and one rename of the `..data` link makes all of them current, the way a kubelet does it.
/// A [`Source`](crate::Source) never sees files of two versions. One writer at a time. The files are not synced to
/// the disk: what a power cut spoils is issued anew.
///
/// `bundle_pem` are the roots of the own trust domain; `federated` are other trust domains, each with its roots.
///
/// # Errors
/// If a file cannot be written; what was there before is then still in force.
pub fn write_identity(
    dir: &Path,
    svid: &Issued,
    bundle_pem: &str,
    federated: &[(String, String)],
) -> Result<(), CaError> {
    create_dir(dir)?;
    let previous = fs::read_link(dir.join(DATA_LINK)).ok();
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let version = PathBuf::from(format!("..{nanos}"));
    let inside = dir.join(&version);
    create_dir(&inside.join("bundles"))?;
    let write_new = |name: &str, text: &str| {
        let path = inside.join(name);
        write(OpenOptions::new().create_new(true), &path, text).map(drop).map_err(failed(&path))
    };
    write_new("svid.pem", &svid.chain_pem)?;
    write_new("svid.key", &svid.key_pem)?;
    write_new("bundle.pem", bundle_pem)?;
    for (trust_domain, roots) in federated {
        check_trust_domain(trust_domain)?;
        write_new(&format!("bundles/{trust_domain}.pem"), roots)?;
    }
    link(dir, &version, DATA_LINK)?;
    for name in ["svid.pem", "svid.key", "bundle.pem", "bundles"] {
        if fs::symlink_metadata(dir.join(name)).is_err() {
            link(dir, &Path::new(DATA_LINK).join(name), name)?;
        }
    }
    sweep(dir, &[Some(version), previous])
}

/// Removes the versions except those in `keep`: the current one, and the one that a reader may be in the middle of.
fn sweep(dir: &Path, keep: &[Option<PathBuf>]) -> Result<(), CaError> {
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let entry = entry.map_err(failed(dir))?;
        let name = PathBuf::from(entry.file_name());
        let is_version = name.to_string_lossy().starts_with("..") && entry.path().is_dir();
        if is_version && name != Path::new(DATA_LINK) && !keep.contains(&Some(name)) {
            fs::remove_dir_all(entry.path()).map_err(failed(&entry.path()))?;
        }
    }
    Ok(())
}

/// Makes `dir/name` a link to `target`, in one step.
fn link(dir: &Path, target: &Path, name: &str) -> Result<(), CaError> {
    let temporary = dir.join("..link");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&temporary)(error)),
        _ => {}
    }
    symlink(target, &temporary).map_err(failed(&temporary))?;
    let path = dir.join(name);
    fs::rename(&temporary, &path).map_err(failed(&path))
}

pub(super) fn create_dir(dir: &Path) -> Result<(), CaError> {
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(failed(dir))
}

/// Writes `path` by a rename, durably, readable by nobody else.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), CaError> {
    let temporary = path.with_extension("tmp");
    write(OpenOptions::new().create(true).truncate(true), &temporary, text)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all()))
        .map_err(failed(path))
}

fn write(options: &mut OpenOptions, path: &Path, text: &str) -> io::Result<File> {
    let mut file = options.write(true).mode(FILE_MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

pub(super) fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CaError + use<> {
    let path = path.to_owned();
    |source| CaError::File { path, source }
}
