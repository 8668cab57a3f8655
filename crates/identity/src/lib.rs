//! Who somebody is: workload identities from X.509-SVIDs, strictly verified and rotated without a restart, and the
//! two signed tokens (end user, handoff) that are checked against keys in watched files.
//!
//! INVARIANT: an identity exists in the program only as a [`SpiffeId`], and a [`SpiffeId`] of a peer only after its
//! certificate passed [every check](Rejection) in the handshake. Common names and DNS names are never read.

pub mod ca;
pub mod end_user;
pub mod handoff;
mod id;
pub mod jws;
mod rejection;
mod resource_name;
mod source;
pub mod tls;
mod verify;
mod watch;

pub use id::{SpiffeId, SpiffeIdError, check_trust_domain};
pub use rejection::Rejection;
pub use source::{Source, SourceError, Svid, TrustBundle};
pub use verify::MAX_SVID_LIFETIME;
