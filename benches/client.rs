//! A client that costs little: prepared requests over keep-alive connections, and just enough parsing to find the end of
//! an answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// When a connection sends its next request.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// As soon as it has its answer.
    Closed,
    /// At fixed times, so that every server gets the same load and sleeps in between.
    Every(Duration),
}

/// What a run did.
pub(crate) struct Load {
    /// Requests answered with 200.
    pub(crate) requests: u64,
    /// How long each took, in microseconds, the quickest first.
    pub(crate) sorted_us: Vec<f64>,
    /// From the first to the last.
    pub(crate) wall: Duration,
}

impl Load {
    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64()
    }

    /// The time that so large a part of the requests stayed below, in microseconds.
    pub(crate) fn quantile_us(&self, part: f64) -> f64 {
        let place = (self.sorted_us.len() as f64 * part) as usize;
        self.sorted_us.get(place.min(self.sorted_us.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }
}

/// A GET's bytes.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n").into()
}

/// The bytes of a POST with a JSON body.
pub(crate) fn post(path: &str, body: &serde_json::Value) -> Vec<u8> {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\ncontent-type: application/json");
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into()
}

/// Sends the same request again and again over a number of connections, for a time.
///
/// # Errors
/// When a connection fails or an answer is not 200.
pub(crate) fn drive(address: SocketAddr, request: &[u8], connections: u32, pace: Pace, time: Duration) -> anyhow::Result<Load> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let start = Instant::now();
        let connection = |index| async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            if let Pace::Every(period) = pace {
                tokio::time::sleep(period * index / connections).await; // not all at once
            }
            repeat(&mut stream, request, pace, start + time).await
        };
        let mut sorted_us = futures::future::try_join_all((0..connections).map(connection)).await?.concat();
        let wall = start.elapsed();
        sorted_us.sort_by(f64::total_cmp);
        Ok(Load { requests: sorted_us.len() as u64, sorted_us, wall })
    })
}

async fn repeat(stream: &mut TcpStream, request: &[u8], pace: Pace, until: Instant) -> anyhow::Result<Vec<f64>> {
    let mut clock = match pace {
        Pace::Closed => None,
        Pace::Every(period) => Some(tokio::time::interval(period)),
    };
    let mut answer = Vec::with_capacity(64 << 10);
    let mut times_us = Vec::new();
    while Instant::now() < until {
        if let Some(clock) = &mut clock {
            clock.tick().await;
        }
        let start = Instant::now();
        stream.write_all(request).await?;
        answer.clear();
        while !is_complete(&answer)? {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the connection ended after {} bytes", answer.len());
        }
        times_us.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times_us)
}

fn is_complete(answer: &[u8]) -> anyhow::Result<bool> {
    let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(false) };
    let (head, body) = (std::str::from_utf8(&answer[..head])?, &answer[head + 4..]);
    ensure!(head.starts_with("HTTP/1.1 200"), "not 200: {head}\n{}", String::from_utf8_lossy(body));
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(':').context("a header without a colon")?;
        if name.eq_ignore_ascii_case("content-length") {
            return Ok(body.len() >= value.trim().parse::<usize>()?);
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok(body.ends_with(b"\r\n0\r\n\r\n"));
        }
    }
    bail!("an answer of unknown length: {head}")
}
