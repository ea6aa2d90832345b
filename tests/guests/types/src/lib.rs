//! Functions with every type of WIT, made with plain `wit-bindgen`: what is served is what their types say.

mod bindings;
mod echo;
mod streams;

use std::hint::black_box;

use bindings::exports::acme::types::calls::{Fault, FaultCode, Guest as Calls};
use bindings::exports::acme::types::things::{self, GuestThing, Thing};

/// The component.
struct Component;

impl bindings::Guest for Component {
    fn hello(name: Option<String>) -> String {
        format!("hello {}", name.unwrap_or_else(|| "you".into()))
    }
}

impl Calls for Component {
    fn nothing() {}

    fn seven() -> u8 {
        7
    }

    fn divide(dividend: i32, the_divisor: i32) -> Result<i32, String> {
        dividend.checked_div(the_divisor).ok_or_else(|| format!("{dividend} can't be divided by {the_divisor}"))
    }

    fn fail(code: FaultCode) -> Result<u32, Fault> {
        Err(Fault { code, message: "it was asked to fail".into() })
    }

    fn is_good(value: bool) -> Result<(), ()> {
        if value { Ok(()) } else { Err(()) }
    }

    fn odd_floats() -> Vec<f64> {
        vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE]
    }

    fn long_text(length: u32) -> String {
        "a".repeat(length as usize)
    }

    fn fall() {
        std::process::abort()
    }

    fn spin() {
        let mut turns = 0_u64;
        while black_box(turns) < u64::MAX {
            turns += 1;
        }
    }

    fn sum(value: Vec<u64>) -> u64 {
        value.into_iter().fold(0, u64::wrapping_add)
    }
}

/// Something to hold.
struct Weight;

impl GuestThing for Weight {
    fn new() -> Self {
        Weight
    }

    fn weight(&self) -> u32 {
        1
    }
}

impl things::Guest for Component {
    type Thing = Weight;

    fn take(it: Thing) -> u32 {
        it.get::<Weight>().weight()
    }
}
