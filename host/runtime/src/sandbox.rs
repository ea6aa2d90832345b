//! The wasmtime engine, and the store that an instance lives in.

use std::sync::Arc;
use std::time::Duration;

use policy::Limits;
use tokio::sync::Semaphore;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::call::Calls;
use crate::capability;
use crate::config::ServerConfig;
use crate::inference::Inference;
use crate::stderr::Tail;
use crate::telemetry::Metrics;

/// Tables of one instance, together.
const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Handles (streams, bodies, pollables …) that a guest may hold.
const HANDLES_MAX: usize = 4096;
/// Bytes that one host call may copy out of a guest.
const HOSTCALL_BYTES_MAX: usize = 16 << 20;
/// Core modules, memories and tables of one instance: so that no component takes more than a few of the pool's slots.
const CORE_INSTANCES_MAX: u32 = 32;
const MEMORIES_MAX: u32 = 4;
const TABLES_MAX: u32 = 16;

/// What all components share: the compiler, the host functions, and the back ends behind those.
pub(crate) struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Ctx>,
    pub(crate) inference: Arc<dyn Inference>,
    pub(crate) metrics: Arc<Metrics>,
    /// Threads for instances whose host calls block.
    pub(crate) blocking: Arc<Semaphore>,
}

impl Sandbox {
    /// Makes the engine and links every capability; linking gives no rights.
    pub(crate) fn new(
        config: &ServerConfig,
        inference: Arc<dyn Inference>,
        metrics: Arc<Metrics>,
    ) -> wasmtime::Result<Sandbox> {
        let engine = engine(config.instances_max)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        capability::link(&mut linker)?;
        tick(&engine, Duration::from_millis(config.epoch_ms));
        let blocking = Arc::new(Semaphore::new(config.blocking_instances_max));
        Ok(Sandbox { engine, linker, inference, metrics, blocking })
    }

    /// A fresh store under the component's limits.
    pub(crate) fn store(self: &Arc<Self>, limits: &Limits, log: &Arc<capability::log::Budget>) -> Store<Ctx> {
        let stderr = Tail::default();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let ctx = Ctx {
            calls: Calls::default(),
            sandbox: self.clone(),
            log: log.clone(),
            growth: Growth { bytes: 0, bytes_max: limits.memory_bytes_max, elements: 0 },
            table,
            wasi: WasiCtxBuilder::new().stderr(stderr.clone()).build(),
            stderr,
            nn: None,
            http: WasiHttpCtx::new(),
            outbound: DeniedOutbound,
        };
        let mut store = Store::new(&self.engine, ctx);
        store.limiter(|ctx| &mut ctx.growth);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }
}

/// Pooled slots where the address space is large enough, else memory on demand.
fn engine(instances_max: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances_max)
        .total_core_instances(instances_max.saturating_mul(8))
        .total_memories(instances_max)
        .total_tables(instances_max.saturating_mul(4))
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .total_stacks(instances_max)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(4 << 10);
    let mut config = Config::new();
    config.epoch_interruption(true).wasm_component_model_async(true).max_wasm_stack(512 << 10);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).or_else(|error| {
        tracing::warn!(%error, "no pool of instances: each gets its memory on demand, which is slower");
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        Engine::new(&config)
    })
}

/// Interrupts running guests at every epoch, for as long as the engine lives.
fn tick(engine: &Engine, epoch: Duration) {
    let engine = engine.weak();
    std::thread::spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(epoch);
        }
    });
}

/// The state of one instance. It carries no rights: those come with each call.
pub(crate) struct Ctx {
    pub(crate) calls: Calls,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) log: Arc<capability::log::Budget>,
    pub(crate) stderr: Tail,
    pub(crate) nn: Option<capability::nn::Nn>,
    growth: Growth,
    pub(crate) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: DeniedOutbound,
}

impl WasiView for Ctx {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Ctx {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outbound, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Refuses every outgoing request: there is no grant for one yet.
struct DeniedOutbound;

type Sent = (::http::Response<WasiBody>, Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>);

impl WasiHttpHooks for DeniedOutbound {
    fn send_request(
        &mut self,
        _request: ::http::Request<WasiBody>,
        _options: Option<wasmtime_wasi_http::RequestOptions>,
        _result: Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, wasmtime_wasi_http::Error>> + Send> {
        Box::new(std::future::ready(Err(wasmtime_wasi_http::Error::HttpRequestDenied)))
    }
}

/// Counts the linear memories of an instance together, and its tables.
struct Growth {
    bytes: usize,
    bytes_max: usize,
    elements: usize,
}

impl ResourceLimiter for Growth {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(grow(&mut self.bytes, desired.saturating_sub(current), self.bytes_max))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(grow(&mut self.elements, desired.saturating_sub(current), TABLE_ELEMENTS_MAX))
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }
}

/// Adds to a sum if it stays within its limit.
fn grow(sum: &mut usize, more: usize, max: usize) -> bool {
    let grown = sum.saturating_add(more);
    let fits = grown <= max;
    if fits {
        *sum = grown;
    }
    fits
}
