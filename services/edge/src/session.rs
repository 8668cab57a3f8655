//! Whether a session still stands. A token's signature says only that account once issued it; that nobody revoked
//! the session since, account itself has to say. Who cannot be asked has not said yes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use ring::digest::{SHA256, digest};
use sekat_mesh::ConfigError;
use sekat_mesh::refusal::refuse;
use tokio::sync::watch;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request, Status};

use crate::upstream::{Method, Upstreams};

/// The method that says whether a session stands. Users may call it too; asking before would be asking twice.
pub(crate) const VERIFY_SESSION: &str = "/sekat.account.v1.SessionService/VerifySession";

// A call passes with an answer that was asked for at most FRESH ago, for which it waited at most until ANSWER_WITHIN
// after the question. A session that was revoked before the call came is therefore refused within the second that
// account promises, also when account is slow.

/// How long an answer holds, counted from the question.
const FRESH: Duration = Duration::from_millis(500);
/// For the answer, with all repetitions of the question.
const ANSWER_WITHIN: Duration = Duration::from_millis(900);
/// Answers that are remembered, about 150 bytes each: as many users as call within half a second.
const REMEMBERED: usize = 16_384;

/// What is known of sessions, by the SHA-256 of the token's header.
pub(crate) struct Sessions {
    verify: Method,
    questions: Mutex<HashMap<[u8; 32], Question>>,
}

/// A question to account. All who would ask the same meanwhile wait for its answer.
struct Question {
    asked: Instant,
    answer: watch::Receiver<Option<Answer>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Stands,
    Ended,
    /// Account could not be asked.
    Unknown,
}

impl Sessions {
    /// # Errors
    /// If account no longer has the method.
    pub(crate) fn new(upstreams: &Upstreams) -> Result<Self, ConfigError> {
        Ok(Self { verify: upstreams.own(VERIFY_SESSION)?, questions: Mutex::default() })
    }

    /// Checks the session of a token, whose `authorization` header this is.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` if it was revoked, `UNAVAILABLE` if account does not say.
    pub(crate) async fn check(&self, authorization: &HeaderValue) -> Result<(), Status> {
        let mut answer = self.question(authorization);
        let answer = match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.unwrap_or(Answer::Unknown),
            // The task that asked has panicked.
            Err(_) => Answer::Unknown,
        };
        match answer {
            Answer::Stands => Ok(()),
            Answer::Ended => {
                Err(refuse(Code::Unauthenticated, "SESSION_ENDED", "the session has ended; sign in again"))
            }
            Answer::Unknown => Err(refuse(
                Code::Unavailable,
                "SESSION_NOT_VERIFIED",
                "it cannot be verified now that the session still stands; try again",
            )),
        }
    }

    /// The fresh or running question about this token, else a new one.
    fn question(&self, authorization: &HeaderValue) -> watch::Receiver<Option<Answer>> {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, authorization.as_bytes()).as_ref());
        let now = Instant::now();
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(question) = questions.get(&key).filter(|question| question.is_of_use(now)) {
            return question.answer.clone();
        }
        if questions.len() >= REMEMBERED {
            questions.retain(|_, question| question.is_of_use(now));
        }
        if questions.len() >= REMEMBERED {
            // More users than entries: forgetting all costs each of them one more question.
            questions.clear();
        }
        let answer = self.ask(authorization);
        questions.insert(key, Question { asked: now, answer: answer.clone() });
        answer
    }

    /// Asks on a task of its own: it goes on for the others if the first who asked leaves, and it is a trace of its
    /// own, since no single call is its cause.
    fn ask(&self, authorization: &HeaderValue) -> watch::Receiver<Option<Answer>> {
        let (set, answer) = watch::channel(None);
        let verify = self.verify.clone();
        let authorization = AsciiMetadataValue::try_from(authorization.as_bytes());
        tokio::spawn(async move {
            let mut request = Request::new(());
            request.set_timeout(ANSWER_WITHIN);
            let answer = match authorization {
                Ok(authorization) => {
                    request.metadata_mut().insert("authorization", authorization);
                    Answer::of(verify.call(request).await)
                }
                Err(_) => Answer::Ended,
            };
            set.send_replace(Some(answer));
        });
        answer
    }
}

impl Question {
    fn is_of_use(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked) < FRESH && *self.answer.borrow() != Some(Answer::Unknown)
    }
}

impl Answer {
    fn of(outcome: Result<(), Status>) -> Self {
        match outcome {
            Ok(()) => Self::Stands,
            Err(status) if status.code() == Code::Unauthenticated => Self::Ended,
            Err(status) => {
                tracing::warn!(code = ?status.code(), "account does not say whether a session stands");
                Self::Unknown
            }
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}
