//! Why a world could not be built or observed: always our failure or the machine's, never a finding.

use std::io;

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel lets neither this user nor a user namespace of theirs make network namespaces.
    #[error(
        "network namespaces cannot be made here: run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN, or allow \
         unprivileged user namespaces (user.max_user_namespaces above 0, kernel.apparmor_restrict_unprivileged_userns \
         at 0)"
    )]
    NotPermitted,
    /// A program is not installed.
    #[error("`{program}` is missing: on Debian, `apt-get install {package}`")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program refused what it was told.
    #[error("`{program}` failed: {stderr}")]
    Program {
        /// The program.
        program: &'static str,
        /// What it said.
        stderr: String,
    },
    /// A program said something that we do not understand.
    #[error("`{program}` answered with something else than it does at the versions we know")]
    Answer {
        /// The program.
        program: &'static str,
        /// Why it could not be read.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// There are more pods than addresses for them.
    #[error("{pods} pods do not fit into {block}")]
    Full {
        /// How many pods there are.
        pods: usize,
        /// The block for them.
        block: crate::Cidr,
    },
    /// Nothing of that name is in the world.
    #[error("there is no `{0}` in this world")]
    Unknown(String),
    /// A system call failed.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: that `what` failed.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { what, source: source.into() }
    }
}
