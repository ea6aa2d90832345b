//! `wasi:nn`, standard and as others wrote it: models of the registry, loaded by name, on token ids of the guest's own. What is
//! linked is the crate `wasmtime-wasi-nn`; here is its back end, which goes through the policy and the engine's queue.
//!
//! Its functions don't say for which request they are called, and they are synchronous. So an instance of a component that
//! imports it serves one request only, on a thread where it may wait (`instance.rs`).

mod batch;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::Forward;
use policy::{Nn as Action, Permit};
use wasmtime::component::{Linker, Resource};
use wasmtime::{StoreContextMut, Trap};
use wasmtime_wasi_nn::backend::{BackendError, BackendExecutionContext, BackendGraph, Id, NamedTensor};
use wasmtime_wasi_nn::wit::{self, TensorType, WasiNnCtx, WasiNnView};
use wasmtime_wasi_nn::{ExecutionContext, Graph, GraphRegistry, Registry, Tensor};

use super::{Context, denied, within};
use crate::sandbox::Ctx;
use batch::Batch;

/// Tensors that one request may make, its outputs included, in bytes. They lie in the host's memory.
const TENSOR_BYTES_MAX: usize = 64 << 20;

/// Links the standard's functions, and counts the tensors that a guest makes.
pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    wit::add_to_linker(linker, view)?;
    linker.allow_shadowing(true);
    linker.instance("wasi:nn/tensor@0.2.0-rc-2024-10-28")?.func_wrap("[constructor]tensor", new_tensor)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn view(ctx: &mut Ctx) -> WasiNnView<'_> {
    if ctx.nn.is_none() {
        ctx.nn = Some(Nn::new(context(ctx)));
    }
    let nn = ctx.nn.as_mut().expect("was put there just now");
    WasiNnView::new(&mut ctx.table, &mut nn.ctx)
}

fn new_tensor(
    mut store: StoreContextMut<'_, Ctx>,
    (dimensions, ty, data): (Vec<u32>, TensorType, Vec<u8>),
) -> wasmtime::Result<(Resource<Tensor>,)> {
    let ctx = store.data_mut();
    view(ctx);
    let budget = &ctx.nn.as_ref().expect("`view` makes it").budget;
    if !budget.take(data.len()) {
        return Err(Trap::AllocationTooLarge.into()); // a constructor has no error to return
    }
    Ok((ctx.table.push(Tensor::new(dimensions, ty, data))?,))
}

/// What a guest's request sees of `wasi:nn`. Made when it first looks.
pub(crate) struct Nn {
    ctx: WasiNnCtx,
    budget: Arc<Budget>,
}

/// The request that an instance serves; none outside any.
fn context(ctx: &Ctx) -> Option<Arc<Context>> {
    let (inference, log) = (ctx.sandbox.inference.clone(), ctx.log.clone());
    ctx.calls.only().map(|call| Arc::new(Context { call, inference, log }))
}

impl Nn {
    fn new(context: Option<Arc<Context>>) -> Nn {
        let budget = Arc::new(Budget(AtomicUsize::new(TENSOR_BYTES_MAX)));
        let models = Models { graphs: context.iter().flat_map(|context| graphs(context, &budget)).collect(), context };
        // No back end: what a guest brings along is loaded by nobody.
        Nn { ctx: WasiNnCtx::new([], Registry::from(models)), budget }
    }
}

fn graphs(context: &Arc<Context>, budget: &Arc<Budget>) -> HashMap<String, Graph> {
    let graph = |name: String| {
        let model = Model { name: name.clone(), context: context.clone(), budget: budget.clone() };
        (name, Graph::from(Box::new(model) as Box<dyn BackendGraph>))
    };
    context.inference.models().into_iter().map(|card| graph(card.name)).collect()
}

/// Bytes that are left for tensors.
struct Budget(AtomicUsize);

impl Budget {
    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// All loaded models, for the one who may have them.
struct Models {
    context: Option<Arc<Context>>,
    graphs: HashMap<String, Graph>,
}

impl GraphRegistry for Models {
    fn get(&self, name: &str) -> Option<&Graph> {
        permit(self.context.as_ref()?, name)?;
        self.graphs.get(name)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Graph> {
        permit(self.context.as_ref()?, name)?;
        self.graphs.get_mut(name)
    }
}

fn permit(context: &Context, model: &str) -> Option<Permit<Action>> {
    let decision = context.call.policy.nn(model);
    decision.inspect_err(|denial| drop(denied(context, denial, Some(model)))).ok()
}

/// A model that a guest has loaded.
#[derive(Clone)]
struct Model {
    name: String,
    context: Arc<Context>,
    budget: Arc<Budget>,
}

impl BackendGraph for Model {
    fn init_execution_context(&self) -> Result<ExecutionContext, BackendError> {
        Ok(ExecutionContext::from(Box::new(self.clone()) as Box<dyn BackendExecutionContext>))
    }
}

impl BackendExecutionContext for Model {
    fn compute(&mut self, inputs: Option<Vec<NamedTensor>>) -> Result<Option<Vec<NamedTensor>>, BackendError> {
        let batch = Batch::read(&inputs.unwrap_or_default()).map_err(BackendError::UnsupportedTensorType)?;
        let permit = permit(&self.context, &self.name).ok_or_else(|| failed("the model is not granted any more"))?;
        let forward = self.wait(permit, batch.rows())?;
        let bytes = batch.output_bytes(&forward).filter(|bytes| self.budget.take(*bytes));
        bytes.ok_or(BackendError::NotEnoughMemory(TENSOR_BYTES_MAX))?;
        Ok(Some(vec![batch.output(&forward)]))
    }

    // These two are of the older interface for core modules, which is not linked.
    fn set_input(&mut self, _id: Id, _tensor: &Tensor) -> Result<(), BackendError> {
        Err(failed("inputs are given to `compute`"))
    }

    fn get_output(&mut self, _id: Id) -> Result<Tensor, BackendError> {
        Err(failed("outputs are given by `compute`"))
    }
}

impl Model {
    /// Blocks this thread until the engine answers, the request's time is over, or its client is gone.
    fn wait(&self, permit: Permit<Action>, inputs: Vec<Vec<u32>>) -> Result<Forward, BackendError> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let (call, inference) = (self.context.call.clone(), self.context.inference.clone());
        tokio::spawn(async move { drop(answer.send(within(&call, inference.forward(permit, inputs)).await)) });
        let forward = answered.recv().map_err(|_| failed("the server is shutting down"))?;
        forward.map_err(|error| failed(&error.message))
    }
}

fn failed(message: &str) -> BackendError {
    BackendError::BackendAccess(wasmtime::Error::msg(message.to_owned()))
}
