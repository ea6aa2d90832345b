//! A program as any other: it shows what it is given, and does what its arguments say.

use std::io::{Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let done = match words.as_slice() {
        ["exit", code] => return code.parse().map_or(ExitCode::FAILURE, |code: u8| code.into()),
        ["env", name] => tell(&format!("{:?}", std::env::var(name))),
        ["read", path] => tell(&format!("{:?}", std::fs::read_to_string(path).map_err(|error| error.kind()))),
        ["write", path] => tell(&format!("{:?}", std::fs::write(path, "written").map_err(|error| error.kind()))),
        ["connect", address] => tell(&format!("{:?}", std::net::TcpStream::connect(address).map_err(|error| error.kind()))),
        ["work"] => work(),
        ["wait"] => {
            std::thread::sleep(std::time::Duration::from_secs(3600));
            Ok(())
        }
        ["fill"] => fill(),
        ["trap"] => std::process::abort(),
        words => echo(words),
    };
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

/// Arguments and input to the output, a line to the error output.
fn echo(words: &[&str]) -> std::io::Result<()> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    writeln!(std::io::stderr(), "{} bytes of input", input.len())?;
    tell(&format!("{words:?} {input}"))
}

fn work() -> std::io::Result<()> {
    let mut sum = 0_u64;
    while sum < u64::MAX {
        sum = std::hint::black_box(sum + 1);
    }
    tell("worked")
}

fn fill() -> std::io::Result<()> {
    let mut all = Vec::new();
    loop {
        all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}
