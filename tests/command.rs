//! Commands: components that are run once, as `tessera run` does.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use policy::Policies;
use runtime::{CommandPolicy, ComponentFiles, ServerConfig};
use tempfile::TempDir;
use tests::{FakeInference, root};

/// Says to a child of these tests which folder its policy is in; arguments follow, each in a variable.
const FOLDER: &str = "TESSERA_TEST_COMMAND";

/// A folder with a policy for the command.
struct World(TempDir);

impl World {
    fn new(policy: &str) -> World {
        let world = World(tempfile::tempdir().expect("a folder"));
        for name in ["policies", "data", "files"] {
            std::fs::create_dir(world.path(name)).expect("a folder");
        }
        let files = world.path("files").display().to_string();
        let policy = format!("schema = 1\n{}", policy.replace("FILES", &files));
        std::fs::write(world.path("policies/command.toml"), policy).expect("writes");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the guest in a process of its own, whose input and output it gets.
    fn run(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "command::child", "--ignored", "--nocapture"]).env(FOLDER, self.0.path());
        command.env("OWN", "a variable of the process").env("ARGUMENTS", arguments.join("\n"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let mut stdin = child.stdin.take().expect("an input");
        stdin.write_all(input.as_bytes()).expect("takes it");
        drop(stdin);
        let Output { status, stdout, stderr } = child.wait_with_output().expect("ends");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended { code: status.code(), out: text(stdout), error: text(stderr) }
    }
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    error: String,
}

/// Exit code of a child whose command did not run to its end.
const FAILED: i32 = 101;

/// The process that [`World::run`] starts; by itself it does nothing.
#[test]
#[ignore = "a part of other tests"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let guest = root().join("tests/guests/command");
    let config = ServerConfig { policies: folder.join("policies"), data: folder.join("data"), ..ServerConfig::default() };
    let files = ComponentFiles::read(&guest, config.component_bytes_max).expect("run `make guests` first");
    let policies = Policies::read(&config.policies).expect("policies");
    let arguments = std::env::var("ARGUMENTS").expect("arguments");
    let arguments = std::iter::once("command").chain(arguments.lines()).map(String::from).collect();
    let policy = CommandPolicy::Of("command".parse().expect("a name"));
    let command = runtime::Command { files, arguments, policy };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let ended = runtime.block_on(async {
        let inference = Arc::new(FakeInference::default());
        tokio::spawn(async move { runtime::run_command(command, &config, &policies, inference).await }).await
    });
    let code = ended.expect("runs").map_or_else(
        |error| {
            writeln!(std::io::stderr(), "error: {error}").expect("tells");
            FAILED
        },
        i32::from,
    );
    std::process::exit(code);
}

#[test]
fn a_command_gets_arguments_and_input_and_gives_output_and_an_exit_code() {
    let world = World::new("");
    let ended = world.run(&["one", "--two"], "and input");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("[\"one\", \"--two\"] and input"), "{ended:?}");
    assert!(ended.error.contains("9 bytes of input"), "{ended:?}");
    assert_eq!(world.run(&["exit", "7"], "").code, Some(7));
    assert_eq!(world.run(&["exit", "no number"], "").code, Some(1));
}

#[test]
fn a_command_sees_no_file_variable_or_network_that_its_policy_does_not_grant() {
    let world = World::new("");
    std::fs::write(world.path("files/a.txt"), "secret").expect("writes");
    let file = world.path("files/a.txt").display().to_string();
    let wishes = [
        ["env", "OWN"],
        ["env", "HOME"],
        ["read", &file],
        ["read", "/etc/hostname"],
        ["write", &file],
        ["connect", "127.0.0.1:1"],
    ];
    for wish in wishes {
        let ended = world.run(&wish, "");
        assert!(ended.code == Some(0) && ended.out.contains("Err("), "{wish:?}: {ended:?}");
    }
    assert_eq!(std::fs::read_to_string(world.path("files/a.txt")).expect("reads"), "secret");
}

#[test]
fn a_command_gets_what_its_policy_grants() {
    let world = World::new(
        "[env]\nvalues = { GIVEN = \"a value\" }\nfrom_server = [\"OWN\"]\n\
         [fs]\nallow = [{ host = \"FILES\", guest = \"/files\", access = \"read-write\" }]\n",
    );
    std::fs::write(world.path("files/a.txt"), "some text").expect("writes");
    let told = |arguments: &[&str], wanted: &str| {
        let ended = world.run(arguments, "");
        assert!(ended.code == Some(0) && ended.out.contains(wanted), "{arguments:?}: {ended:?}");
    };
    told(&["env", "GIVEN"], "Ok(\"a value\")");
    told(&["env", "OWN"], "Ok(\"a variable of the process\")");
    told(&["env", "HOME"], "Err(");
    told(&["read", "/files/a.txt"], "Ok(\"some text\")");
    told(&["write", "/files/b.txt"], "Ok(())");
    told(&["read", "/etc/hostname"], "Err(");
    assert_eq!(std::fs::read_to_string(world.path("files/b.txt")).expect("reads"), "written");
}

#[test]
fn a_command_is_stopped_at_each_limit_and_told_which_to_change() {
    let world = World::new("[limits]\nwall_ms_max = 3000\ncpu_ms_max = 300\nmemory_bytes_max = 16777216\n");
    for (verb, told) in [
        ("work", "after 300 ms of CPU time: give it more with [limits] cpu_ms_max in "),
        ("wait", "after 3000 ms: give it more with [limits] wall_ms_max in "),
        ("fill", "it ran out of memory, 16777216 bytes: give it more with [limits] memory_bytes_max in "),
        ("trap", "it failed: "),
    ] {
        let ended = world.run(&[verb], "");
        assert_eq!(ended.code, Some(FAILED), "{verb}: {ended:?}");
        assert!(ended.error.contains(told), "{verb}: {ended:?}");
    }
}
