//! `wasi:nn`, standard and as others wrote it: models of the registry, loaded by name, on token ids of the guest's own. What is
//! linked is the crate `wasmtime-wasi-nn`; here is its back end, which goes through the policy and the engine's queue.
//!
//! Its functions don't say for which request they are called, and they are synchronous. So an instance of a component that
//! imports it serves one request only, on a thread where it may wait (`instance.rs`).

mod batch;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::{Forward, ModelCard};
use policy::{Cost, Nn as Action, Permit};
use wasmtime::component::{Linker, Resource};
use wasmtime::{StoreContextMut, Trap};
use wasmtime_wasi_nn::backend::{BackendError, BackendExecutionContext, BackendGraph, Id, NamedTensor};
use wasmtime_wasi_nn::wit::{self, TensorType, WasiNnCtx, WasiNnView};
use wasmtime_wasi_nn::{ExecutionContext, Graph, GraphRegistry, Registry, Tensor};

use super::{Context, within};
use crate::sandbox::Ctx;
use batch::Batch;

/// Tensors that one request may make, its outputs included, in bytes. They lie in the host's memory.
const TENSOR_BYTES_MAX: usize = 64 << 20;
/// Dimensions of a tensor. They are not counted as bytes.
const DIMENSIONS_MAX: usize = 8;
/// Bytes of a model's name. The crate keeps an unknown name for as long as the guest keeps the error.
const NAME_BYTES_MAX: usize = 256;

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
    if dimensions.len() > DIMENSIONS_MAX || !budget.take(data.len()) {
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
    let inference = ctx.sandbox.inference.clone();
    ctx.calls.only().map(|call| Arc::new(Context { call, inference }))
}

impl Nn {
    fn new(context: Option<Arc<Context>>) -> Nn {
        let budget = Arc::new(Budget(AtomicUsize::new(TENSOR_BYTES_MAX)));
        let graphs = context.iter().flat_map(|context| graphs(context, &budget)).collect();
        let models = Models { graphs, nameless: Graph::from(Box::new(Nameless) as Box<dyn BackendGraph>), context };
        // No back end: what a guest brings along is loaded by nobody.
        Nn { ctx: WasiNnCtx::new([], Registry::from(models)), budget }
    }
}

fn graphs(context: &Arc<Context>, budget: &Arc<Budget>) -> HashMap<String, Graph> {
    let graph = |card: ModelCard| {
        let name = card.name.clone();
        let model = Model { card, context: context.clone(), budget: budget.clone() };
        (name, Graph::from(Box::new(model) as Box<dyn BackendGraph>))
    };
    context.inference.models().into_iter().map(graph).collect()
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
    /// What there is for a name that is too long to be kept.
    nameless: Graph,
}

impl GraphRegistry for Models {
    fn get(&self, name: &str) -> Option<&Graph> {
        if name.len() > NAME_BYTES_MAX {
            return Some(&self.nameless);
        }
        permit(self.context.as_ref()?, name, 0)?;
        self.graphs.get(name)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Graph> {
        if name.len() > NAME_BYTES_MAX {
            return Some(&mut self.nameless);
        }
        permit(self.context.as_ref()?, name, 0)?;
        self.graphs.get_mut(name)
    }
}

fn permit(context: &Context, model: &str, input_tokens: u64) -> Option<Permit<Action>> {
    let cost = Cost { input_tokens, output_tokens: 0 };
    context.call.ask(|authority| authority.nn(model, cost)).ok()
}

/// What a guest gets for a name that is no model's: "not found" would keep the name, so it is told at its first use.
struct Nameless;

impl BackendGraph for Nameless {
    fn init_execution_context(&self) -> Result<ExecutionContext, BackendError> {
        Err(failed(&format!("no model has a name of more than {NAME_BYTES_MAX} bytes")))
    }
}

/// A model that a guest has loaded.
#[derive(Clone)]
struct Model {
    card: ModelCard,
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
        let rows = batch.rows();
        let tokens = rows.iter().map(|row| row.len() as u64).sum();
        let permit = permit(&self.context, &self.card.name, tokens);
        let permit = permit.ok_or_else(|| failed("the model is not granted any more, or the quota is used up"))?;
        // Before the device works for it; what fails after this has been counted all the same.
        let bytes = batch.output_bytes(&self.card).filter(|bytes| self.budget.take(*bytes));
        bytes.ok_or(BackendError::NotEnoughMemory(TENSOR_BYTES_MAX))?;
        let forward = self.wait(permit, rows)?;
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
    /// Blocks this thread until the engine answers or the request is over.
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
