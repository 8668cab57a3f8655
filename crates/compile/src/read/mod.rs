//! From emitted files back to what they enforce. Each reader knows its target's documented semantics and nothing of the
//! emitter; a field that it does not know is a finding, because whatever it means is not in the answer.

mod cilium;
mod cnp;
mod cursor;
mod envoy;
mod grpc_rbac;
mod istio;
mod istio_ambient;
mod kubernetes;
mod linkerd;
mod pattern;
mod selector;
#[cfg(test)]
mod semantics;

use sekat_policy::Diagnostic;

use crate::File;
use crate::attempt::{Attempt, Verdict};
use crate::read::cursor::{Cursor, Sink};
use crate::target::Target;

/// Something that the reader of a target does not know.
pub const NOT_UNDERSTOOD: &str = "SK0412";
/// An object that a target enforces differently than its text reads.
pub const TRAP: &str = "SK0413";

/// What a target would do with an attempt.
pub(crate) trait Reader {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict<'_>;

    /// What each end would do alone, the callee's first, where a target enforces at both.
    fn ends(&self, _: &Attempt<'_>) -> Option<[Verdict<'_>; 2]> {
        None
    }
}

/// The reader of a target over its files, and what it found strange in them.
pub(crate) fn reader(target: Target, files: &[File]) -> (Box<dyn Reader>, Vec<Diagnostic>) {
    let mut documents = Vec::new();
    let mut found = Vec::new();
    for file in files {
        for document in sekat_yaml::documents(&file.name, &file.text) {
            match document {
                // A comment between two marks.
                Ok(node) if node.is_null() => {}
                Ok(node) => documents.push((file.name.as_str(), node)),
                Err(error) => found.push(error),
            }
        }
    }
    let objects: Vec<Cursor<'_>> = documents.iter().map(|(file, node)| Cursor { file, node }).collect();
    let mut sink = Sink { found };
    let reader: Box<dyn Reader> = match target {
        Target::Kubernetes => Box::new(kubernetes::Policies::read(&objects, &mut sink)),
        Target::Cnp => Box::new(cnp::Walls::read(&objects, &mut sink)),
        Target::Istio => Box::new(istio::Sidecars::read(&objects, &mut sink)),
        Target::IstioAmbient => Box::new(istio_ambient::Ambient::read(&objects, &mut sink)),
        Target::Linkerd => Box::new(linkerd::Linkerd::read(&objects, &mut sink)),
        Target::Cilium => Box::new(cilium::Cilium::read(&objects, &mut sink)),
        Target::GrpcRbac => Box::new(grpc_rbac::Guards::read(&objects, &mut sink)),
        Target::Envoy => Box::new(envoy::Filters::read(&objects, &mut sink)),
    };
    (reader, sink.found)
}
