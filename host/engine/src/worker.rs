//! The thread that owns a device: it takes a batch from the queue, runs it, gives the answers out, and picks again.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::batch::Tokens;
use crate::engine::{Counters, JobError, Stats};
use crate::model::Model;
use crate::schedule::{Limits, Place, Schedule};
use crate::task::{Prepared, Want};

/// A job in the queue.
pub(crate) struct Request {
    model: Arc<Model>,
    want: Want,
    inputs: Vec<Arc<Tokens>>,
    outputs: Vec<Vec<f32>>,
    missing: usize,
    reply: Box<dyn Reply>,
}

/// Where the answer goes, whatever its type.
trait Reply: Send {
    fn is_abandoned(&self) -> bool;
    fn send(self: Box<Self>, outputs: Result<Vec<Vec<f32>>, JobError>);
}

struct Waiter<Answer> {
    finish: Box<dyn FnOnce(Vec<Vec<f32>>) -> Answer + Send>,
    reply: oneshot::Sender<Result<Answer, JobError>>,
}

impl<Answer: Send> Reply for Waiter<Answer> {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn send(self: Box<Self>, outputs: Result<Vec<Vec<f32>>, JobError>) {
        // The owner may be gone by now; then nobody misses the answer.
        drop(self.reply.send(outputs.map(self.finish)));
    }
}

impl Request {
    pub(crate) fn new<Answer: Send + 'static>(
        model: Arc<Model>,
        prepared: Prepared<Answer>,
        reply: oneshot::Sender<Result<Answer, JobError>>,
    ) -> Request {
        let Prepared { want, inputs, finish } = prepared;
        let missing = inputs.len();
        Request {
            model,
            want,
            inputs: inputs.into_iter().map(Arc::new).collect(),
            outputs: vec![Vec::new(); missing],
            missing,
            reply: Box::new(Waiter { finish, reply }),
        }
    }
}

/// What can share a batch: the same wish of the same model, the model by its address.
type Kind = (usize, Want);

struct State {
    schedule: Schedule<Kind>,
    requests: BTreeMap<u64, Request>,
    is_closed: bool,
}

/// The queue before a device.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    next_id: AtomicU64,
    counters: Counters,
}

/// One batch, taken out of the queue.
struct Step {
    model: Arc<Model>,
    want: Want,
    places: Vec<Place>,
    inputs: Vec<Arc<Tokens>>,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Queue {
        let state = State { schedule: Schedule::new(limits), requests: BTreeMap::new(), is_closed: false };
        Queue { state: Mutex::new(state), changed: Condvar::new(), next_id: AtomicU64::new(0), counters: Counters::default() }
    }

    /// Takes a request, or answers it that the queue is full.
    pub(crate) fn push(&self, request: Request) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let kind = (Arc::as_ptr(&request.model).addr(), request.want);
        let lengths = request.inputs.iter().map(|tokens| tokens.ids.len());
        let tokens: usize = lengths.clone().sum();
        let mut state = self.state();
        if state.schedule.push(id, kind, lengths).is_err() {
            let tokens_max = state.schedule.tokens_max();
            drop(state);
            let never = format!("the job has {tokens} tokens; at most {tokens_max} fit into the queue: send less at once");
            return request.reply.send(Err(if tokens > tokens_max {
                JobError::InvalidInput(never)
            } else {
                JobError::Overloaded
            }));
        }
        state.requests.insert(id, request);
        drop(state);
        self.changed.notify_one();
    }

    /// Lets the worker end when the queue is empty.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.read(self.state().schedule.tokens())
    }

    /// Runs batches until the queue is closed and empty. Tensor work goes to the pool's threads.
    pub(crate) fn run(&self, pool: &rayon::ThreadPool) {
        while let Some(step) = self.next_step() {
            let start = Instant::now();
            let run = || step.model.run(step.want, step.inputs.iter().map(Arc::as_ref));
            let outputs = catch_unwind(AssertUnwindSafe(|| pool.install(run)));
            self.count(&step, start, outputs.is_err());
            match outputs {
                Ok(outputs) => self.deliver(&step.places, outputs, pool),
                Err(panic) => self.fail(&step.places, &panic_text(&*panic)),
            }
        }
    }

    fn next_step(&self) -> Option<Step> {
        let mut state = self.state();
        loop {
            let State { schedule, requests, .. } = &mut *state;
            requests.retain(|_, request| !request.reply.is_abandoned());
            schedule.retain(|id| requests.contains_key(&id));
            if let Some(((_, want), places)) = schedule.next_batch() {
                let model = requests[&places[0].request].model.clone();
                let inputs = places.iter().map(|place| requests[&place.request].inputs[place.input].clone()).collect();
                return Some(Step { model, want, places, inputs });
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn deliver(&self, places: &[Place], outputs: Vec<Vec<f32>>, pool: &rayon::ThreadPool) {
        let mut finished = Vec::new();
        let mut state = self.state();
        for (place, output) in places.iter().zip(outputs) {
            let Some(request) = state.requests.get_mut(&place.request) else { continue };
            request.outputs[place.input] = output;
            request.missing -= 1;
            if request.missing == 0 {
                finished.extend(state.requests.remove(&place.request));
            }
        }
        drop(state);
        for request in finished.into_iter().filter(|request| !request.reply.is_abandoned()) {
            // A panic drops the reply, which its owner sees as `Stopped`; the device goes on.
            let send = AssertUnwindSafe(|| pool.install(|| request.reply.send(Ok(request.outputs))));
            if let Err(panic) = catch_unwind(send) {
                tracing::error!(reason = panic_text(&*panic), "an answer could not be made");
            }
        }
    }

    fn fail(&self, places: &[Place], reason: &str) {
        tracing::error!(reason, "a batch panicked");
        let mut state = self.state();
        let failed: Vec<Request> = places.iter().filter_map(|place| state.requests.remove(&place.request)).collect();
        drop(state);
        for request in failed {
            request.reply.send(Err(JobError::Failed(reason.into())));
        }
    }

    fn count(&self, step: &Step, start: Instant, has_failed: bool) {
        let add = |counter: &AtomicU64, value: usize| counter.fetch_add(value as u64, Ordering::Relaxed);
        let busy_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counters.busy_ns.fetch_add(busy_ns, Ordering::Relaxed);
        add(&self.counters.batches, 1);
        add(&self.counters.inputs, step.inputs.len());
        add(&self.counters.tokens, step.inputs.iter().map(|tokens| tokens.ids.len()).sum());
        add(&self.counters.failed_batches, usize::from(has_failed));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way; a poisoned lock still holds a good state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("an unknown panic").chars().take(300).collect()
}
