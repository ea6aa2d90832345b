//! What an operator grants: one file a capability, each a policy section with its checks.

pub(crate) mod blob;
pub(crate) mod call;
pub(crate) mod classify;
pub(crate) mod config;
pub(crate) mod embed;
pub(crate) mod env;
pub(crate) mod fs;
pub(crate) mod generate;
pub(crate) mod http;
pub(crate) mod kv;
pub(crate) mod log;
pub(crate) mod models;
pub(crate) mod nn;
pub(crate) mod rerank;
pub(crate) mod routes;
pub(crate) mod secret;
pub(crate) mod socket;
pub(crate) mod stores;
pub(crate) mod tokenize;
pub(crate) mod vector;

use crate::PolicyFile;

macro_rules! sections {
    ($($name:ident),*) => {
        /// Capabilities that a policy can grant, by WIT name and section; `env` and `fs` are of WASI alone, and
        /// `call` is of the interfaces that components make up themselves.
        pub const CAPABILITIES: [&str; [$(stringify!($name)),*].len()] = [$(stringify!($name)),*];

        impl PolicyFile {
            /// Whether there is a section for a capability.
            pub fn has_section(&self, capability: &str) -> bool {
                match capability {
                    $(stringify!($name) => self.$name.is_some(),)*
                    _ => false,
                }
            }

            /// The lines that would grant a capability, to show to an operator.
            pub fn lines_to_add(capability: &str) -> &'static str {
                match capability {
                    $(stringify!($name) => $name::LINES,)*
                    _ => "# this version of tessera has no such capability",
                }
            }

            /// Takes away the sections of capabilities that the component does not declare it wants.
            pub(crate) fn only(mut self, wanted: &[String]) -> PolicyFile {
                $(if !wanted.iter().any(|want| want == stringify!($name)) {
                    self.$name = None;
                })*
                self
            }
        }
    };
}
sections!(blob, call, classify, config, embed, env, fs, generate, http, kv, log, nn, rerank, secret, tokenize, vector);
