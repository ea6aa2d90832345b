//! What comes is answered.

use super::Component;
use super::bindings::exports::acme::types::echo::{Access, Colour, Everything, Guest as Echo, Point, Shape};

impl Echo for Component {
    fn bool(value: bool) -> bool {
        value
    }

    fn s8(value: i8) -> i8 {
        value
    }

    fn u8(value: u8) -> u8 {
        value
    }

    fn s16(value: i16) -> i16 {
        value
    }

    fn u16(value: u16) -> u16 {
        value
    }

    fn s32(value: i32) -> i32 {
        value
    }

    fn u32(value: u32) -> u32 {
        value
    }

    fn s64(value: i64) -> i64 {
        value
    }

    fn u64(value: u64) -> u64 {
        value
    }

    fn f32(value: f32) -> f32 {
        value
    }

    fn f64(value: f64) -> f64 {
        value
    }

    fn char(value: char) -> char {
        value
    }

    fn text(value: String) -> String {
        value
    }

    fn bytes(value: Vec<u8>) -> Vec<u8> {
        value
    }

    fn numbers(value: Vec<u32>) -> Vec<u32> {
        value
    }

    fn pair(value: (String, u8)) -> (String, u8) {
        value
    }

    fn points(value: Vec<Point>) -> Vec<Point> {
        value
    }

    fn paint(value: Colour) -> Colour {
        value
    }

    fn rights(value: Access) -> Access {
        value
    }

    fn figure(value: Shape) -> Shape {
        value
    }

    fn maybe(value: Option<u32>) -> Option<u32> {
        value
    }

    fn nested(value: Option<Option<u32>>) -> Option<Option<u32>> {
        value
    }

    fn results(value: Vec<Result<u32, String>>) -> Vec<Result<u32, String>> {
        value
    }

    fn all(value: Everything) -> Everything {
        value
    }

    async fn later(value: Everything) -> Everything {
        wit_bindgen::yield_async().await;
        value
    }
}
