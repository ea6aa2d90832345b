//! Rights, limits and callers: pure decisions, and the only maker of a [`Permit`].
//!
//! A component's power is what its manifest wants, what the operator's policy grants, and what the caller may do, all
//! three at once. Policy files are compiled into an immutable [`Snapshot`]; every check goes through an [`Authority`], reads
//! one snapshot and the component's [`Ledger`], and does no I/O. A check that passes gives a [`Permit`], which back ends take
//! by value, so an effect without a check doesn't compile.
//!
//! What was decided is kept in the [`audit`] log, which this crate writes and verifies.
//!
//! What people are told is here as well: why something is denied and what to change ([`Denied::explain`]), what a policy would
//! answer ([`Ask`], [`Case`]), what is wrong with it ([`check`]), and how two differ ([`diff`]).

#![forbid(unsafe_code)]

mod action;
mod address;
mod admission;
mod ask;
pub mod audit;
mod authority;
mod caller;
mod case;
mod check;
mod denial;
mod diff;
mod digest;
mod explain;
mod grant;
mod guard;
mod limit;
mod meter;
mod name;
mod permit;
mod protected;
mod quota;
mod reference;
mod route;
mod rule;
mod signature;
mod snapshot;
#[cfg(test)]
mod testing;

pub use action::Action;
pub use admission::{Admitted, ComponentPins, Evidence, Refused};
pub use ask::{Ask, AskError, Circumstances, Decision, parse_time};
pub use authority::{Authority, Cost};
pub use caller::{
    Bound, Caller, Key, KeyError, KeyId, KeySet, Keys, Label, LabelError, Labels, NewKey, Scope, Selection, TenantPolicy,
    TenantSource, Tenants, TokenError, TokenRules, VerifiedToken, digest_of_key, issuer_of, rfc3339,
};
pub use case::{Case, CaseError, Expect, Outcome};
pub use check::{Finding, Site, check};
pub use denial::{Allowed, Denial, Denied, Detail, Reason, Witness};
pub use diff::{Change, ChangeKind, diff};
pub use digest::{Digest, DigestError};
pub use grant::{
    CAPABILITIES,
    blob::{BlobGrant, BlobRow, BlobVerb},
    call::{CallGrant, Callee, CalleeError},
    config::ConfigGrant,
    env::EnvGrant,
    fs::{Access, Folder, FsGrant},
    http::{HostPattern, HostPatternError, HttpGrant, HttpRule, Scheme},
    kv::{KvGrant, KvRow, KvVerb, Per},
    log::{Level, LogGrant},
    models::{ModelRef, ModelRefError, ModelsGrant},
    routes::RoutesGrant,
    secret::{PLACEHOLDER_PREFIX, SecretGrant, SecretSource, SecretValue},
    stores::{Place, StorePattern, StorePatternError, StoreVerb, Stored},
    vector::{VectorGrant, VectorRow, VectorVerb},
};
pub use guard::{Guard, Unchecked};
pub use limit::Limits;
pub use meter::Meter;
pub use name::{ComponentName, ModelName, NameError, StoreName, Tenant};
pub use permit::{Call, Classify, Embed, Generate, Http, Nn, Permit, Rerank, Tokenize};
pub use protected::Protected;
pub use quota::{Books, Exhausted, Ledger, Overdrawn, Quota, Reservation, Resource, Usage};
pub use reference::{reference, schema};
pub use route::{Method, Route, RouteError};
pub use rule::{Rule, RuleError, RuleId, Rules};
pub use signature::{PublicKey, Signature, SignatureError, SignerKeyError, SigningKey, Statement, key_name};
pub use snapshot::{Facts, LoadError, Mode, Policies, PolicyFile, Snapshot};
