//! Guards: components that the host asks about what goes into other components and comes out of them.
//!
//! A guard is a function from a text to a [`Verdict`]. This is a whole one, which blocks a word and hides numbers of four digits:
//!
//! ```
//! use tessera_sdk::guard::{Context, Failure, Span, Verdict};
//!
//! tessera_sdk::guard!(check);
//!
//! async fn check(text: String, _at: Context) -> Result<Verdict, Failure> {
//!     if text.contains("forbidden") {
//!         return Ok(Verdict::block("forbidden-word"));
//!     }
//!     let digits = |at: &usize| text.as_bytes()[*at..].iter().take_while(|byte| byte.is_ascii_digit()).count() == 4;
//!     let spans = (0..text.len()).filter(digits).map(|at| Span::new(at..at + 4, "####"));
//!     Ok(Verdict::redact(spans))
//! }
//! # fn main() {}
//! ```
//!
//! Its `component.toml` declares the reasons that it blocks for, under which the host tells of it:
//!
//! ```toml
//! [guard]
//! reasons = ["forbidden-word"]
//! ```
//!
//! The policy of the component to be guarded names it in `[guard]`. A guard may be a service as well, with [`service!`](crate::service)
//! beside [`guard!`](crate::guard!); without it, it serves no HTTP.
//!
//! A streamed text comes in parts, each with the end of the part before it, for as long as [`Context::is_final`] is false: what the
//! policy holds back (`hold_back_chars`) is the longest thing that a guard finds for sure.

use std::fmt;
use std::ops::Range;

use crate::bindings::guard::exports::tessera::guard::guard as wit;

pub use wit::{Context, Direction, Span, Verdict};

/// The guard could not judge. The text of it is for the guard's author; the host shows it to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl<E: fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl Span {
    /// A part of a text, in bytes of UTF-8 on the borders of characters, and what stands in its place.
    pub fn new(part: Range<usize>, replacement: impl Into<String>) -> Self {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX); // the host sends no text as long as that
        Self { start: place(part.start), end: place(part.end), replacement: replacement.into() }
    }
}

impl Verdict {
    /// The text must not pass, for a reason that `component.toml` declares.
    pub fn block(reason: impl Into<String>) -> Self {
        Self::Block(reason.into())
    }

    /// The text may pass without these parts, which must not overlap; as it is if there are none.
    pub fn redact(parts: impl IntoIterator<Item = Span>) -> Self {
        let parts: Vec<Span> = parts.into_iter().collect();
        if parts.is_empty() { Self::Allow } else { Self::Redact(parts) }
    }
}

/// Makes the crate a guard: `guard!(check)` with `async fn check(text: String, at: Context) -> Result<Verdict, Failure>`.
///
/// Goes into `lib.rs` once. Outside of WebAssembly the macro only checks its argument, so that the crate's tests run natively.
#[macro_export]
macro_rules! guard {
    ($check:path) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Guard;

            impl $crate::bindings::guard::exports::tessera::guard::guard::Guest for Guard {
                async fn check(
                    text: ::std::string::String,
                    at: $crate::guard::Context,
                ) -> ::core::result::Result<$crate::guard::Verdict, ::std::string::String> {
                    $check(text, at).await.map_err(|failure: $crate::guard::Failure| failure.0)
                }
            }

    $crate::bindings::guard::export_guard!(Guard with_types_in $crate::bindings::guard);
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            fn is_a_guard<F>(_: fn(::std::string::String, $crate::guard::Context) -> F)
            where
                F: ::core::future::Future<Output = ::core::result::Result<$crate::guard::Verdict, $crate::guard::Failure>>,
            {
            }
            let _ = || is_a_guard($check);
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_redact_nothing_is_to_allow() {
        assert!(matches!(Verdict::redact([]), Verdict::Allow));
        let Verdict::Redact(spans) = Verdict::redact([Span::new(1..3, "*")]) else { panic!("a part is redacted") };
        assert_eq!((spans[0].start, spans[0].end, spans[0].replacement.as_str()), (1, 3, "*"));
    }

    #[test]
    fn any_error_is_a_failure() {
        fn fails() -> Result<(), Failure> {
            "x".parse::<u32>()?;
            Ok(())
        }
        assert_eq!(fails(), Err(Failure("invalid digit found in string".into())));
    }
}
