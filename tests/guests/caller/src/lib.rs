//! A component that passes its calls on to another one: to a guest that is called, or to one of its own kind.

mod bindings;

use std::pin::pin;
use std::task::Poll;

use bindings::acme::shop::stock;
use bindings::exports::acme::desk::desk;
use bindings::exports::acme::shop::stock as own;
use wit_bindgen::{FutureReader, StreamReader};

struct Caller;

impl own::Guest for Caller {
    async fn echo(item: own::Item) -> Result<own::Item, String> {
        stock::echo(passed(item)).await.map(given)
    }

    async fn end(how: String) -> Result<u32, own::Problem> {
        stock::end(how).await.map_err(problem)
    }

    fn half(of: u32) -> u32 {
        stock::half(of)
    }

    async fn count(to: u32, how: String) -> Result<(StreamReader<u32>, FutureReader<Result<u64, String>>), String> {
        stock::count(to, how).await
    }

    async fn bytes(length: u32, how: String) -> Result<StreamReader<u8>, String> {
        stock::bytes(length, how).await
    }
}

impl desk::Guest for Caller {
    async fn sum(to: u32, how: String) -> Result<String, String> {
        let (mut numbers, end) = stock::count(to, how).await?;
        let (mut count, mut sum) = (0_u64, 0_u64);
        while let Some(number) = numbers.next().await {
            count += 1;
            sum += u64::from(number);
        }
        Ok(format!("{count} {sum} {:?}", end.await))
    }

    async fn taste(items: u32) -> Result<String, String> {
        let (mut numbers, end) = stock::count(u32::MAX, String::new()).await?;
        for expected in 0..items {
            if numbers.next().await != Some(expected) {
                return Err("another number came".into());
            }
        }
        drop(numbers);
        Ok(format!("{:?}", end.await))
    }

    async fn weigh(length: u32, how: String) -> Result<u64, String> {
        let mut bytes = stock::bytes(length, how).await?;
        let mut count = 0_u64;
        while let Some(byte) = bytes.next().await {
            if byte != count.to_le_bytes()[0] {
                return Err(format!("byte {count} is {byte}"));
            }
            count += 1;
        }
        Ok(count)
    }

    async fn leave() -> Result<u32, String> {
        let mut call = pin!(stock::end("forever".into()));
        let mut looks = 0;
        std::future::poll_fn(|context| {
            looks += 1;
            match call.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(Err("it came back".into())),
                Poll::Pending => Poll::Ready(Ok(looks)),
            }
        })
        .await
    }
}

fn passed(item: own::Item) -> stock::Item {
    let own::Item { name, count, tags, at, form, marks, level } = item;
    let form = match form {
        own::Form::Plain => stock::Form::Plain,
        own::Form::Boxed(bytes) => stock::Form::Boxed(bytes),
        own::Form::Nested(pair) => stock::Form::Nested(pair),
    };
    let level = match level {
        own::Level::Low => stock::Level::Low,
        own::Level::High => stock::Level::High,
    };
    stock::Item { name, count, tags, at, form, marks: stock::Marks::from_bits_retain(marks.bits()), level }
}

fn given(item: stock::Item) -> own::Item {
    let stock::Item { name, count, tags, at, form, marks, level } = item;
    let form = match form {
        stock::Form::Plain => own::Form::Plain,
        stock::Form::Boxed(bytes) => own::Form::Boxed(bytes),
        stock::Form::Nested(pair) => own::Form::Nested(pair),
    };
    let level = match level {
        stock::Level::Low => own::Level::Low,
        stock::Level::High => own::Level::High,
    };
    own::Item { name, count, tags, at, form, marks: own::Marks::from_bits_retain(marks.bits()), level }
}

fn problem(problem: stock::Problem) -> own::Problem {
    match problem {
        stock::Problem::Wrong(words) => own::Problem::Wrong(words),
        stock::Problem::Denied => own::Problem::Denied,
        stock::Problem::Unavailable => own::Problem::Unavailable,
        stock::Problem::Busy => own::Problem::Busy,
        stock::Problem::Quota => own::Problem::Quota,
        stock::Problem::Deadline => own::Problem::Deadline,
        stock::Problem::Cycle => own::Problem::Cycle,
        stock::Problem::TooDeep => own::Problem::TooDeep,
        stock::Problem::Failed(words) => own::Problem::Failed(words),
    }
}
