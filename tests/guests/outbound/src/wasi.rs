//! WASI's own functions, 0.2 and 0.3, one at a time on what a test says: no library stands between and checks first.

use serde::Deserialize;
use serde_json::{Value, json};

/// `{"function": "open-at", "path": "a"}`: a function as WIT has it, without its resource's name. Paths are below the first
/// folder that there is; `to` is the other path of a function with two.
#[derive(Deserialize)]
pub(crate) struct Request {
    function: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    to: String,
}

impl Request {
    /// `{"ok": …}` or `{"error": …}`, by interface 2 or 3.
    pub(crate) async fn run(self, interface: &str) -> Value {
        let done = match interface {
            "2" => second::run(&self).await,
            "3" => third::run(&self).await,
            other => Err(format!("there is no interface {other}")),
        };
        done.map_or_else(|error| json!({"error": error}), |value| json!({"ok": value}))
    }
}

fn done<T, E: std::fmt::Debug>(result: Result<T, E>) -> Result<Value, String> {
    result.map(|_| json!("done")).map_err(|error| format!("{error:?}"))
}

/// What both interfaces have: 0.2 takes paths as `&str` and waits, 0.3 takes them as `String` and is awaited.
macro_rules! interface {
    ($wasi:ident $(, . $await:tt)?) => {
        use $wasi::cli::environment::{get_arguments, get_environment};
        use $wasi::filesystem::preopens::get_directories;
        use $wasi::filesystem::types::{Descriptor, DescriptorFlags, NewTimestamp, OpenFlags, PathFlags};

        #[allow(clippy::unused_async, reason = "one of the two interfaces waits")]
        pub(super) async fn run(request: &Request) -> Result<Value, String> {
            match request.function.as_str() {
                "get-environment" => Ok(json!(get_environment())),
                "get-arguments" => Ok(json!(get_arguments())),
                "get-directories" => {
                    Ok(get_directories().into_iter().map(|(_, path)| Value::from(path)).collect())
                }
                _ => match own(request)$(.$await)? {
                    Some(done) => done,
                    None => file(request).await,
                },
            }
        }

        #[allow(clippy::unused_async, reason = "one of the two interfaces waits")]
        async fn file(Request { function, path, to }: &Request) -> Result<Value, String> {
            let folders = get_directories();
            let Some((folder, _)) = folders.first() else { return Err("no folder is granted".to_owned()) };
            let (follow, plain) = (PathFlags::SYMLINK_FOLLOW, PathFlags::empty());
            let (path, to) = (path.as_str(), to.as_str());
            match function.as_str() {
                "open-at" => done(open(folder, path)$(.$await)?),
                "stat-at" => done(folder.stat_at(follow, path.into())$(.$await)?),
                "readlink-at" => done(folder.readlink_at(path.into())$(.$await)?),
                "metadata-hash-at" => done(folder.metadata_hash_at(follow, path.into())$(.$await)?),
                "create-directory-at" => done(folder.create_directory_at(path.into())$(.$await)?),
                "remove-directory-at" => done(folder.remove_directory_at(path.into())$(.$await)?),
                "unlink-file-at" => done(folder.unlink_file_at(path.into())$(.$await)?),
                "set-times-at" => {
                    done(folder.set_times_at(follow, path.into(), NewTimestamp::Now, NewTimestamp::Now)$(.$await)?)
                }
                "link-at" => done(folder.link_at(plain, path.into(), folder, to.into())$(.$await)?),
                "rename-at" => done(folder.rename_at(path.into(), folder, to.into())$(.$await)?),
                "symlink-at" => done(folder.symlink_at(path.into(), to.into())$(.$await)?),
                other => Err(format!("there is no function {other}")),
            }
        }
    };
}

mod second {
    use wasip2::cli::environment::initial_cwd;
    use wasip2::filesystem::types::ErrorCode;
    use wasip2::sockets::instance_network::instance_network;
    use wasip2::sockets::ip_name_lookup::resolve_addresses;
    use wasip2::sockets::network::IpAddressFamily;
    use wasip2::sockets::tcp_create_socket::create_tcp_socket;
    use wasip2::sockets::udp_create_socket::create_udp_socket;

    use super::{Request, Value, done, json};

    interface!(wasip2);

    fn open(folder: &Descriptor, path: &str) -> Result<Descriptor, ErrorCode> {
        folder.open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), DescriptorFlags::READ)
    }

    fn own(Request { function, path, .. }: &Request) -> Option<Result<Value, String>> {
        Some(match function.as_str() {
            "initial-cwd" => Ok(json!(initial_cwd())),
            "create-tcp-socket" => done(create_tcp_socket(IpAddressFamily::Ipv4)),
            "create-udp-socket" => done(create_udp_socket(IpAddressFamily::Ipv4)),
            "resolve-addresses" => done(resolve_addresses(&instance_network(), path)),
            _ => return None,
        })
    }
}

mod third {
    use wasip3::cli::environment::get_initial_cwd;
    use wasip3::filesystem::types::ErrorCode;
    use wasip3::sockets::ip_name_lookup::resolve_addresses;
    use wasip3::sockets::types::{IpAddressFamily, TcpSocket, UdpSocket};

    use super::{Request, Value, done, json};

    interface!(wasip3, .await);

    async fn open(folder: &Descriptor, path: &str) -> Result<Descriptor, ErrorCode> {
        let (follow, read) = (PathFlags::SYMLINK_FOLLOW, DescriptorFlags::READ);
        folder.open_at(follow, path.to_owned(), OpenFlags::empty(), read).await
    }

    async fn own(Request { function, path, .. }: &Request) -> Option<Result<Value, String>> {
        Some(match function.as_str() {
            "get-initial-cwd" => Ok(json!(get_initial_cwd())),
            "tcp-socket.create" => done(TcpSocket::create(IpAddressFamily::Ipv4)),
            "udp-socket.create" => done(UdpSocket::create(IpAddressFamily::Ipv4)),
            "resolve-addresses" => done(resolve_addresses(path.clone()).await),
            _ => return None,
        })
    }
}
