//! Catalog, payment and account as the contracts promise them, in memory, as workloads of the mesh. Each can be told
//! to lose a request or a reply, to refuse, or to hang, so that the order service meets every outcome of every step.

mod account;
mod catalog;
mod payment;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use prost::Message;
use sekat_mesh::refusal::refuse;
use tokio::sync::Notify;
use tonic::{Code, Request, Response, Status};

pub(crate) use account::Account;
pub(crate) use catalog::{Catalog, Hold};
pub(crate) use payment::{Funds, NOTIFICATION_TRACE_ID, Payment};

/// What a peer does with its next call of a method.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// It does not arrive.
    LoseRequest,
    /// It is done, and the reply does not arrive.
    LoseReply,
    /// It arrives and never returns; nothing is done.
    HangBefore,
    /// It is done and never returns.
    HangAfter,
    /// It is refused for good.
    Refuse(&'static str),
}

/// What peers are told, and what they have seen.
#[derive(Default)]
pub(crate) struct Script {
    faults: Mutex<HashMap<&'static str, VecDeque<Fault>>>,
    calls: Mutex<HashMap<&'static str, usize>>,
    bodies: Mutex<HashMap<String, Vec<u8>>>,
    violations: Mutex<Vec<String>>,
    hung: Notify,
}

impl Script {
    /// Has the next `times` calls of a method fail.
    pub(crate) fn fail(&self, method: &'static str, fault: Fault, times: usize) {
        lock(&self.faults).entry(method).or_default().extend(std::iter::repeat_n(fault, times));
    }

    /// Forgets all faults that were not met.
    pub(crate) fn heal(&self) {
        lock(&self.faults).clear();
    }

    /// Ready when a call hangs.
    pub(crate) async fn hangs(&self) {
        self.hung.notified().await;
    }

    /// How often a method was called.
    pub(crate) fn calls(&self, method: &'static str) -> usize {
        lock(&self.calls).get(method).copied().unwrap_or_default()
    }

    /// What callers did that no caller may do.
    pub(crate) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }

    /// Serves a read.
    async fn read<M, R>(
        &self,
        method: &'static str,
        request: Request<M>,
        effect: impl FnOnce(M) -> Result<R, Status>,
    ) -> Result<Response<R>, Status> {
        *lock(&self.calls).entry(method).or_default() += 1;
        let request = request.into_inner();
        let fault = lock(&self.faults).get_mut(method).and_then(VecDeque::pop_front);
        match fault {
            None => effect(request).map(Response::new),
            Some(Fault::Refuse(reason)) => Err(refuse(Code::FailedPrecondition, reason, "as told")),
            Some(Fault::LoseRequest) => Err(lost()),
            Some(Fault::LoseReply) => effect(request).and(Err(lost())),
            Some(Fault::HangBefore) => self.hang().await,
            Some(Fault::HangAfter) => {
                let _ = effect(request);
                self.hang().await
            }
        }
    }

    /// Serves a write: the same request id must always come with the same body.
    async fn write<M: Message, R>(
        &self,
        method: &'static str,
        request_id: fn(&M) -> &str,
        request: Request<M>,
        effect: impl FnOnce(M) -> Result<R, Status>,
    ) -> Result<Response<R>, Status> {
        let body = request.get_ref().encode_to_vec();
        let id = request_id(request.get_ref()).to_owned();
        let first = lock(&self.bodies).entry(format!("{method} {id}")).or_insert_with(|| body.clone()).clone();
        if first != body || id.len() != 36 {
            lock(&self.violations).push(format!("{method}: one request id, two bodies"));
            return Err(refuse(Code::AlreadyExists, "REQUEST_ID_REUSED", "another body"));
        }
        self.read(method, request, effect).await
    }

    async fn hang<R>(&self) -> Result<R, Status> {
        self.hung.notify_one();
        std::future::pending().await
    }
}

fn lost() -> Status {
    refuse(Code::Unavailable, "AS_TOLD", "lost on the way")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
