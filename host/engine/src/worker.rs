//! The thread that owns a device: it takes a batch from the queue, runs one step of it, gives the answers out, and picks again.

mod sequence;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::account::{Account, Charge, shares};
use crate::batch::Tokens;
use crate::engine::{Counters, JobError, Stats};
use crate::model::Model;
use crate::schedule::{self, Limits, Place, Schedule};
use crate::task::{Prepared, Want};

pub(crate) use sequence::{Reader, Sequence};

/// How often readers without room are looked at.
const PAUSE: Duration = Duration::from_millis(2);

/// A job of inputs in the queue.
pub(crate) struct Request {
    account: Option<Arc<dyn Account>>,
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
        let Prepared { account, want, inputs, finish } = prepared;
        let missing = inputs.len();
        Request {
            account,
            model,
            want,
            inputs: inputs.into_iter().map(Arc::new).collect(),
            outputs: vec![Vec::new(); missing],
            missing,
            reply: Box::new(Waiter { finish, reply }),
        }
    }
}

/// What can share a batch: the same wish of the same model, the model by its address; no wish is a sequence.
type Kind = (usize, Option<Want>);

struct State {
    schedule: Schedule<Kind>,
    requests: BTreeMap<u64, Request>,
    /// Sequences that are not in a step now.
    sequences: BTreeMap<u64, Sequence>,
    /// Those of them that have a next token, which is fed when their reader has room for one more.
    paused: Vec<u64>,
    /// Sequences under way, and what their caches may grow to.
    sequence_count: usize,
    cache_bytes: usize,
    is_closed: bool,
}

/// What sequences may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SequenceLimits {
    /// Sequences under way.
    pub(crate) sequences_max: usize,
    /// Bytes that their caches may grow to, together.
    pub(crate) cache_bytes_max: usize,
}

/// The queue before a device.
pub(crate) struct Queue {
    state: Mutex<State>,
    limits: SequenceLimits,
    changed: Condvar,
    next_id: AtomicU64,
    counters: Counters,
}

/// What the device does next.
enum Step {
    Batch(Batch),
    Turns(Vec<Turn>),
}

/// Inputs taken out of the queue.
struct Batch {
    /// Whose they are, by request; what is nobody's is not in here.
    accounts: BTreeMap<u64, Arc<dyn Account>>,
    model: Arc<Model>,
    want: Want,
    places: Vec<Place>,
    inputs: Vec<Arc<Tokens>>,
}

/// A sequence of one model, taken out of the queue for one step.
struct Turn {
    id: u64,
    tokens: usize,
    sequence: Sequence,
    /// What it uses; the time is known after the step.
    charge: Charge,
    is_over: bool,
    /// Why it can't go on, if it is not over.
    error: Option<JobError>,
}

impl Queue {
    pub(crate) fn new(limits: Limits, sequences: SequenceLimits) -> Queue {
        let state = State {
            schedule: Schedule::new(limits),
            requests: BTreeMap::new(),
            sequences: BTreeMap::new(),
            paused: Vec::new(),
            sequence_count: 0,
            cache_bytes: 0,
            is_closed: false,
        };
        Queue {
            state: Mutex::new(state),
            limits: sequences,
            changed: Condvar::new(),
            next_id: AtomicU64::new(0),
            counters: Counters::default(),
        }
    }

    /// Takes a request, or answers it that the queue is full.
    pub(crate) fn push(&self, request: Request) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let kind = (Arc::as_ptr(&request.model).addr(), Some(request.want));
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

    /// Takes a sequence if its owner may have the memory, and there is room for it and its cache.
    ///
    /// # Errors
    /// When the owner may not, or there is no room.
    pub(crate) fn push_sequence(&self, mut sequence: Sequence) -> Result<(), JobError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.check(&sequence)?;
        sequence.hold()?;
        // If it is refused now, it gives its memory back after the lock: parameters are dropped last.
        let mut state = self.state();
        let cache_bytes = state.cache_bytes.saturating_add(sequence.cache_bytes);
        if state.sequence_count >= self.limits.sequences_max || cache_bytes > self.limits.cache_bytes_max {
            return Err(JobError::Overloaded);
        }
        let pushed = state.schedule.push_sequence(id, sequence_kind(&sequence.model), sequence.left());
        pushed.map_err(|schedule::Full| JobError::Overloaded)?;
        state.cache_bytes = cache_bytes;
        state.sequence_count += 1;
        state.sequences.insert(id, sequence);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Refuses a sequence that there would never be room for.
    fn check(&self, sequence: &Sequence) -> Result<(), JobError> {
        let (bytes, bytes_max) = (sequence.cache_bytes, self.limits.cache_bytes_max);
        if bytes > bytes_max {
            let reason = format!("its keys and values may take {bytes} bytes; at most {bytes_max} are for all generations");
            return Err(JobError::InvalidInput(format!("{reason}: ask for fewer tokens")));
        }
        let (tokens, tokens_max) = (sequence.left(), self.state().schedule.tokens_max());
        if tokens > tokens_max {
            let reason = format!("the prompt has {tokens} tokens; at most {tokens_max} fit into the queue");
            return Err(JobError::InvalidInput(format!("{reason}: send less at once")));
        }
        Ok(())
    }

    /// Sequences that may be under way.
    pub(crate) fn sequences_max(&self) -> usize {
        self.limits.sequences_max
    }

    /// Bytes that all caches may grow to.
    pub(crate) fn cache_bytes_max(&self) -> usize {
        self.limits.cache_bytes_max
    }

    /// Lets the worker end when the queue is empty.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.state();
        Stats {
            waiting_tokens: state.schedule.tokens() as u64,
            sequences: state.sequence_count as u64,
            cache_bytes: state.cache_bytes as u64,
            ..self.counters.read()
        }
    }

    /// Runs steps until the queue is closed and empty. Tensor work goes to the pool's threads.
    pub(crate) fn run(&self, pool: &rayon::ThreadPool) {
        while let Some(step) = self.next_step() {
            self.run_step(step, pool);
        }
    }

    fn run_step(&self, step: Step, pool: &rayon::ThreadPool) {
        match step {
            Step::Batch(batch) => self.run_batch(&batch, pool),
            Step::Turns(turns) => self.run_turns(turns, pool),
        }
    }

    fn next_step(&self) -> Option<Step> {
        let mut state = self.state();
        loop {
            if state.is_closed && state.sequence_count > 0 {
                let stopped = state.stop_sequences();
                drop(state);
                stopped.into_iter().for_each(|sequence| sequence.fail(JobError::Stopped));
                state = self.state();
            }
            let (requests, sequences) = state.take_abandoned();
            if !requests.is_empty() || !sequences.is_empty() {
                drop(state);
                drop((requests, sequences));
                state = self.state();
                continue;
            }
            state.resume_ready();
            if let Some((kind, places)) = state.schedule.next_batch() {
                return Some(state.take(kind, places));
            }
            if state.is_closed {
                return None;
            }
            // A reader that makes room tells nobody: it is asked.
            let pause = if state.paused.is_empty() { Duration::MAX } else { PAUSE };
            state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run_batch(&self, batch: &Batch, pool: &rayon::ThreadPool) {
        let start = Instant::now();
        let run = || batch.model.run(batch.want, batch.inputs.iter().map(Arc::as_ref));
        let outputs = catch_unwind(AssertUnwindSafe(|| pool.install(run)));
        let busy_ns = self.count(batch.places.iter().map(|place| place.tokens), start, outputs.is_err());
        batch.charge(busy_ns);
        match outputs {
            Ok(outputs) => self.deliver(&batch.places, outputs, pool),
            Err(panic) => self.fail(&batch.places, &panic_text(&*panic)),
        }
    }

    /// Feeds each sequence its tokens, has the readers read, and puts back those that go on.
    fn run_turns(&self, mut turns: Vec<Turn>, pool: &rayon::ThreadPool) {
        let start = Instant::now();
        let ran = catch_unwind(AssertUnwindSafe(|| pool.install(|| step(&mut turns))));
        let busy_ns = self.count(turns.iter().map(|turn| turn.tokens), start, ran.is_err());
        let failure = ran.err().map(|panic| panic_text(&*panic));
        if let Some(reason) = &failure {
            tracing::error!(reason, "a step of language models panicked");
        }
        charge_turns(&mut turns, busy_ns, failure.map(JobError::Failed).as_ref());
        let mut ended = Vec::new(); // dropped after the lock
        let mut state = self.state();
        for turn in turns {
            if turn.is_over || turn.error.is_some() {
                state.sequence_count -= 1;
                state.cache_bytes -= turn.sequence.cache_bytes;
                ended.push(turn);
                continue;
            }
            if turn.sequence.is_new_token() {
                state.paused.push(turn.id);
            }
            state.sequences.insert(turn.id, turn.sequence);
        }
        drop(state);
        for Turn { sequence, error, .. } in ended {
            if let Some(error) = error {
                sequence.fail(error);
            }
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

    /// Counts a step by the tokens of each input in it. Gives the time it took, in nanoseconds.
    fn count(&self, inputs: impl ExactSizeIterator<Item = usize>, start: Instant, has_failed: bool) -> u64 {
        let add = |counter: &AtomicU64, value: usize| counter.fetch_add(value as u64, Ordering::Relaxed);
        let busy_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counters.busy_ns.fetch_add(busy_ns, Ordering::Relaxed);
        add(&self.counters.batches, 1);
        add(&self.counters.inputs, inputs.len());
        add(&self.counters.tokens, inputs.sum());
        add(&self.counters.failed_batches, usize::from(has_failed));
        busy_ns
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way; a poisoned lock still holds a good state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes out what nobody waits for any more. Dropping it frees the memory it holds.
    fn take_abandoned(&mut self) -> (Vec<Request>, Vec<Sequence>) {
        let State { schedule, requests, sequences, .. } = self;
        let abandoned = requests.extract_if(.., |_, request| request.reply.is_abandoned());
        let abandoned_requests = abandoned.map(|(_, request)| request).collect();
        let abandoned = sequences.extract_if(.., |_, sequence| sequence.reader.is_abandoned());
        let abandoned_sequences: Vec<Sequence> = abandoned.map(|(_, sequence)| sequence).collect();
        self.sequence_count -= abandoned_sequences.len();
        self.cache_bytes -= abandoned_sequences.iter().map(|sequence| sequence.cache_bytes).sum::<usize>();
        schedule.retain(|id| requests.contains_key(&id) || sequences.contains_key(&id));
        (abandoned_requests, abandoned_sequences)
    }

    /// Puts sequences into the schedule whose readers have room for another token.
    fn resume_ready(&mut self) {
        let State { schedule, sequences, paused, .. } = self;
        paused.retain(|id| match sequences.get(id) {
            Some(sequence) if !sequence.reader.is_ready() => true,
            Some(sequence) => {
                schedule.feed(*id, sequence_kind(&sequence.model), 1);
                false
            }
            None => false,
        });
    }

    /// Takes all sequences out: the engine ends.
    fn stop_sequences(&mut self) -> Vec<Sequence> {
        self.sequence_count = 0;
        self.cache_bytes = 0;
        self.paused.clear();
        std::mem::take(&mut self.sequences).into_values().collect()
    }

    /// Takes what the schedule picked out of the queue.
    fn take(&mut self, (_, want): Kind, places: Vec<Place>) -> Step {
        let Some(want) = want else {
            let turn = |place: &Place| {
                let sequence = self.sequences.remove(&place.request)?;
                let input_tokens = sequence.prompt_tokens(place.tokens) as u64;
                let charge = Charge { input_tokens, ..Charge::default() };
                Some(Turn { id: place.request, tokens: place.tokens, sequence, charge, is_over: false, error: None })
            };
            return Step::Turns(places.iter().filter_map(turn).collect());
        };
        let requests = &self.requests;
        let model = requests[&places[0].request].model.clone();
        let inputs = places.iter().map(|place| requests[&place.request].inputs[place.input].clone()).collect();
        let owned = places.iter().filter_map(|place| Some((place.request, requests[&place.request].account.clone()?)));
        Step::Batch(Batch { accounts: owned.collect(), model, want, places, inputs })
    }
}

impl Batch {
    /// Tells the owner of each request what the step used for it.
    fn charge(&self, device_ns: u64) {
        let tokens: Vec<usize> = self.places.iter().map(|place| place.tokens).collect();
        let mut charges: BTreeMap<u64, Charge> = BTreeMap::new();
        for (place, device_ns) in self.places.iter().zip(shares(device_ns, &tokens)) {
            let charge = charges.entry(place.request).or_default();
            charge.input_tokens += place.tokens as u64;
            charge.device_ns += device_ns;
        }
        for (request, account) in &self.accounts {
            account.charge(charges[request]); // the device has done the work: the answer is given all the same
        }
    }
}

fn sequence_kind(model: &Arc<Model>) -> Kind {
    (Arc::as_ptr(model).addr(), None)
}

/// One step of sequences of one model.
fn step(turns: &mut [Turn]) {
    let Some(model) = turns.first().map(|turn| turn.sequence.model.clone()) else { return };
    let mut feeds: Vec<_> = turns.iter_mut().map(|turn| turn.sequence.feed(turn.tokens)).collect();
    let logits = model.step(&mut feeds);
    let mut rows = logits.chunks_exact(model.vocabulary());
    for turn in turns.iter_mut().filter(|turn| turn.sequence.left() == 0) {
        let row = rows.next().expect("a row of logits for each sequence that was fed to its end");
        turn.is_over = !turn.sequence.read(row);
        turn.charge.output_tokens = u64::from(turn.sequence.reader.is_generation());
    }
}

/// Tells the owner of each sequence what a step used for it, and finds out which can't go on.
fn charge_turns(turns: &mut [Turn], device_ns: u64, failure: Option<&JobError>) {
    let tokens: Vec<usize> = turns.iter().map(|turn| turn.tokens).collect();
    for (turn, device_ns) in turns.iter_mut().zip(shares(device_ns, &tokens)) {
        turn.charge.device_ns = device_ns;
        let may_go_on = turn.sequence.charge(turn.charge);
        if !turn.is_over {
            turn.error = failure.cloned().or((!may_go_on).then_some(JobError::Quota));
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("an unknown panic").chars().take(300).collect()
}

#[cfg(test)]
mod tests;
