//! The wasmtime engine, and the store that an instance lives in.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use policy::Limits;
use tokio::sync::Semaphore;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{
    AsContextMut, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter, Store, StoreContextMut,
    UpdateDeadline,
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::audit::Audit;
use crate::call::{self, Call, Calls};
use crate::capability::{self, fs, http};
use crate::component::compiled;
use crate::component::record::ComponentRecord;
use crate::config::ServerConfig;
use crate::cpu::Clock;
use crate::governance::{Governance, Rights};
use crate::inference::Inference;
use crate::instance::{Background, SlowLane};
use crate::journal::Journals;
use crate::peers::Peers;
use crate::stderr::Tail;
use crate::stores::Stores;
use crate::telemetry::Metrics;

/// Elements of one table in the pool.
const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Core modules, memories and tables of one instance: so that no component takes more than a few of the pool's slots.
const CORE_INSTANCES_MAX: u32 = 32;
const MEMORIES_MAX: u32 = 4;
const TABLES_MAX: u32 = 16;
/// What host functions have of a guest's stack, beyond its own part.
const HOST_STACK_BYTES: usize = 1536 << 10;
/// Memory that a compiler in a process of its own may take.
const COMPILER_BYTES_MAX: u64 = 4 << 30;
/// The part of an epoch that an instance may run at once before it counts as one that computes: whoever runs through an epoch
/// is interrupted in its middle.
const EPOCH_PART: f64 = 0.4;
/// Random bytes that a guest may ask for at once.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// What all components share: the compiler, the host functions, and the back ends behind those.
pub(crate) struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Ctx>,
    pub(crate) inference: Arc<dyn Inference>,
    /// Where components keep data; none where they keep none, and once the server has ended.
    pub(crate) stores: ArcSwapOption<Stores>,
    pub(crate) metrics: Arc<Metrics>,
    /// Compiled code on disk.
    pub(crate) compiled: compiled::Cache,
    /// What has run here.
    pub(crate) record: ComponentRecord,
    pub(crate) audit: Arc<Audit>,
    /// The last lines of each component.
    pub(crate) journals: Journals,
    /// The components that one may call.
    pub(crate) peers: Peers,
    /// Requests whose guests go on after their answers.
    pub(crate) background: Background,
    /// Threads for instances whose host calls block.
    pub(crate) blocking: Arc<Semaphore>,
    /// Threads for instances that compute.
    pub(crate) slow: SlowLane,
}

impl Sandbox {
    /// Makes the engine and links every capability; linking gives no rights.
    pub(crate) fn new(
        config: &ServerConfig,
        (inference, stores): (Arc<dyn Inference>, Option<Stores>),
        metrics: Arc<Metrics>,
        audit: Arc<Audit>,
    ) -> wasmtime::Result<Sandbox> {
        let engine = engine(config, pool(config)).or_else(|error| {
            tracing::warn!(%error, "no pool of instances: each gets its memory on demand, which is slower");
            engine(config, InstanceAllocationStrategy::OnDemand)
        })?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        capability::link(&mut linker)?;
        tick(&engine, Duration::from_millis(config.epoch_ms));
        let blocking = Arc::new(Semaphore::new(config.blocking_instances_max));
        let slow = SlowLane::new(Duration::from_millis(config.epoch_ms).mul_f64(EPOCH_PART))?;
        let compiled = compiled::Cache::open(config, &engine, metrics.compiled_cache_refused.clone());
        let record = ComponentRecord::at(&config.data);
        let stores = ArcSwapOption::new(stores.map(Arc::new));
        let (journals, background) = (Journals::default(), Background::default());
        let peers = Peers::default();
        Ok(Sandbox {
            engine,
            linker,
            inference,
            stores,
            metrics,
            audit,
            journals,
            compiled,
            record,
            peers,
            background,
            blocking,
            slow,
        })
    }

    /// A fresh store under the component's limits. Until its guest runs a task of its own, it runs for the call that started it.
    pub(crate) fn store(
        self: &Arc<Self>,
        governance: &Arc<Governance>,
        rights: &Rights,
        starter: Arc<Call>,
        clock: &Arc<Clock>,
    ) -> Store<Ctx> {
        self.store_with(governance, rights, starter, clock, |_| ())
    }

    /// The same with more of WASI than the policy gives by itself.
    pub(crate) fn store_with(
        self: &Arc<Self>,
        governance: &Arc<Governance>,
        rights: &Rights,
        starter: Arc<Call>,
        clock: &Arc<Clock>,
        extend: impl FnOnce(&mut WasiCtxBuilder),
    ) -> Store<Ctx> {
        let limits = rights.policy.limits();
        let stderr = Tail::default();
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles_max);
        let mut wasi = WasiCtxBuilder::new();
        wasi.stderr(stderr.clone()).envs(&rights.variables).max_random_size(RANDOM_BYTES_MAX);
        fs::preopen(&rights.policy, &mut wasi);
        extend(&mut wasi);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits.header_bytes_max.saturating_mul(4)); // as they lie in memory
        let ctx = Ctx {
            calls: Calls::default(),
            starter,
            sandbox: self.clone(),
            governance: governance.clone(),
            clock: clock.clone(),
            growth: Growth::new(limits),
            table,
            wasi: wasi.build(),
            stderr,
            nn: None,
            paths: fs::Paths::default(),
            http,
            outbound: http::Outbound::default(),
        };
        let mut store = Store::new(&self.engine, ctx);
        store.limiter(|ctx| &mut ctx.growth);
        store.set_hostcall_fuel(limits.hostcall_bytes_max);
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(limits.handles_max);
        }
        store.set_max_component_handles(limits.handles_max);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(tick_of_guest);
        store
    }
}

/// At every epoch: lets others run, and charges the time since the last look to the request that runs.
fn tick_of_guest(mut store: StoreContextMut<'_, Ctx>) -> wasmtime::Result<UpdateDeadline> {
    let call = call::current(store.as_context_mut()).unwrap_or_else(|| store.data().starter.clone());
    match call.ran(store.data().clock.lap()) {
        true => Ok(UpdateDeadline::Yield(1)),
        false => Err(wasmtime::format_err!("a request used up its CPU time")),
    }
}

/// Slots for instances, made once and used again and again.
fn pool(config: &ServerConfig) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(config.instances_max)
        .total_core_instances(config.instances_max.saturating_mul(8))
        .total_memories(config.instances_max)
        .total_tables(config.instances_max.saturating_mul(4))
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .total_stacks(config.instances_max)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(4 << 10);
    InstanceAllocationStrategy::Pooling(pool)
}

fn engine(config: &ServerConfig, allocation: InstanceAllocationStrategy) -> wasmtime::Result<Engine> {
    let mut engine = Config::new();
    engine
        .epoch_interruption(true)
        .wasm_component_model_async(true)
        .max_wasm_stack(config.stack_bytes_max)
        .async_stack_size(config.stack_bytes_max.saturating_add(HOST_STACK_BYTES))
        .allocation_strategy(allocation);
    Engine::new(&engine)
}

/// Compiles a component from standard input to standard output under limits of its own, as
/// [`ServerConfig::compiler`] wants it: the whole life of a process that may be killed.
///
/// # Errors
/// When the input is no component, or needs more memory than a compiler may take.
pub fn compile_component(config: &ServerConfig) -> wasmtime::Result<()> {
    let limit = rustix::process::Rlimit { current: Some(COMPILER_BYTES_MAX), maximum: Some(COMPILER_BYTES_MAX) };
    rustix::process::setrlimit(rustix::process::Resource::Data, limit)?;
    let mut wasm = Vec::new();
    std::io::stdin().take(config.component_bytes_max).read_to_end(&mut wasm)?;
    let code = compiled::compile(&engine(config, InstanceAllocationStrategy::OnDemand)?, &wasm)?;
    Ok(std::io::stdout().write_all(&code)?)
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

/// The state of one instance. It carries no rights but those that standard interfaces give it when it starts, folders and
/// environment variables: the others come with each call.
pub(crate) struct Ctx {
    pub(crate) calls: Calls,
    /// The call that it was started for.
    starter: Arc<Call>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) governance: Arc<Governance>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) stderr: Tail,
    pub(crate) nn: Option<capability::nn::Nn>,
    pub(crate) paths: fs::Paths,
    growth: Growth,
    pub(crate) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(crate) outbound: http::Outbound,
}

impl Ctx {
    /// Whether it wanted more memory than it may have.
    pub(crate) fn lacked_memory(&self) -> bool {
        self.growth.was_refused
    }
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

/// Counts the linear memories of an instance together, and its tables.
struct Growth {
    /// Whether a memory could not grow.
    was_refused: bool,
    bytes: usize,
    bytes_max: usize,
    elements: usize,
    elements_max: usize,
    instances_max: usize,
}

impl Growth {
    fn new(limits: &Limits) -> Growth {
        let Limits { memory_bytes_max, table_elements_max, core_instances_max, .. } = *limits;
        let instances_max = core_instances_max.min(CORE_INSTANCES_MAX as usize);
        Growth {
            was_refused: false,
            bytes: 0,
            bytes_max: memory_bytes_max,
            elements: 0,
            elements_max: table_elements_max,
            instances_max,
        }
    }
}

impl ResourceLimiter for Growth {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let is_grown = grow(&mut self.bytes, desired.saturating_sub(current), self.bytes_max);
        self.was_refused |= !is_grown;
        Ok(is_grown)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(grow(&mut self.elements, desired.saturating_sub(current), self.elements_max))
    }

    fn instances(&self) -> usize {
        self.instances_max
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
