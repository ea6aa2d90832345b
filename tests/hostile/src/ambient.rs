//! What a program finds around itself on other systems.

use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use serde_json::Value;
use tessera_sdk::Response;

use crate::{Report, Url};

/// Environment variables, arguments and the folder it runs in; there should be none.
pub(crate) async fn environment(_size: u64) -> Report {
    let variables = std::env::vars().map(|(name, _)| name);
    let arguments = std::env::args().map(|argument| format!("argument {argument}"));
    let found: Vec<Value> = variables.chain(arguments).map(Value::from).collect();
    Report { attempts: found.clone().into(), ..Report::done(found.len() as u64) }
}

/// Sockets of every kind, to an address that listens.
pub(crate) async fn sockets(Url(address): Url) -> Response {
    let shown = |error: std::io::Error| format!("{:?}", error.kind());
    let send = || UdpSocket::bind("0.0.0.0:0")?.send_to(b"x", address.as_str());
    let attempts = vec![
        ("connect".to_owned(), TcpStream::connect(address.as_str()).map(|_| ()).map_err(shown)),
        ("listen".to_owned(), TcpListener::bind("127.0.0.1:0").map(|_| ()).map_err(shown)),
        ("send a datagram".to_owned(), send().map(|_| ()).map_err(shown)),
        ("look a name up".to_owned(), ("localhost", 80).to_socket_addrs().map(|_| ()).map_err(shown)),
    ];
    Report::of_attempts(attempts).named("sockets")
}
