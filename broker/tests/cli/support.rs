//! Processes: stompd with its arguments, and a broker on free ports.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A directory of one test, with a `broker.toml` in it if a text is given.
pub(crate) fn directory(name: &str, broker_toml: Option<&str>) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    if let Some(text) = broker_toml {
        fs::write(directory.join("broker.toml"), text).unwrap();
    }
    directory
}

pub(crate) fn stompd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stompd"));
    command.args(arguments).stdin(Stdio::null());
    without_settings(command)
}

/// Without settings from the environment of the tests.
fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STOMPD_") {
            command.env_remove(name);
        }
    }
    command
}

/// Exit status, standard output and standard error.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    (
        status.code(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// The same with something on standard input.
pub(crate) fn run_with(command: &mut Command, input: &[u8]) -> (Option<i32>, String, String) {
    let mut child = start(command.stdin(Stdio::piped()));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A process whose outputs are read by the test.
pub(crate) fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Sends a signal, such as `INT`.
pub(crate) fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &id]).status();
    assert!(sent.unwrap().success());
}

/// A `stompd sub` whose subscriptions stand.
pub(crate) struct Subscriber {
    pub(crate) child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Subscriber {
    /// Starts it, for one destination.
    pub(crate) fn start(url: &str, arguments: &[&str]) -> Self {
        let fixed = ["sub", "--verbose", "--url", url];
        let mut child = start(&mut stompd(&[&fixed, arguments].concat()));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.starts_with("stompd: subscribed to "), "{line}");
        Self { child, stderr }
    }

    /// Waits for its end: exit status, standard output, and the rest of standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<u8>, String) {
        let mut out = Vec::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_end(&mut out).unwrap();
        }
        let mut err = String::new();
        self.stderr.read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code(), out, err)
    }
}

/// A broker in a process of its own; it ends with the test.
pub(crate) struct Broker {
    pub(crate) child: Child,
    /// `ws://…/ws`, if that listener is on.
    pub(crate) websocket: String,
    /// `tcp://…`, if that listener is on.
    pub(crate) tcp: String,
    /// `host:port`, if that listener is on.
    pub(crate) admin: String,
    /// What it has logged before it listened.
    pub(crate) begin: String,
    /// Reads what it logs once it listens.
    log: Option<JoinHandle<String>>,
}

impl Broker {
    /// Starts one with these further arguments, and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::with(arguments, &[])
    }

    /// The same with environment variables.
    pub(crate) fn with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = stompd(&["serve"]);
        command.args(arguments);
        Self::launch(command, environment)
    }

    /// The same with a limit of open files.
    pub(crate) fn with_files(files: u32, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {files} && exec \"$0\" serve");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_stompd")]);
        Self::launch(without_settings(command), environment)
    }

    fn launch(mut command: Command, environment: &[(&str, &str)]) -> Self {
        let free = [
            ("STOMPD__LISTEN__WEBSOCKET", "127.0.0.1:0"),
            ("STOMPD__LISTEN__TCP", "127.0.0.1:0"),
            ("STOMPD__LISTEN__ADMIN", "127.0.0.1:0"),
            ("STOMPD__STOP__SPREAD", "0s"),
        ];
        command
            .stdin(Stdio::null())
            .current_dir(directory("broker", None))
            .envs(free)
            .envs(environment.iter().copied())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut broker = Self {
            child,
            websocket: String::new(),
            tcp: String::new(),
            admin: String::new(),
            begin: String::new(),
            log: None,
        };
        for line in lines.by_ref() {
            let line = line.unwrap();
            broker.begin += &line;
            let told = |what: &str| {
                let (_, rest) = line.split_once(what)?;
                Some(rest.split(' ').next().unwrap_or_default().to_owned())
            };
            if let Some(url) = told("STOMP over WebSocket: ") {
                broker.websocket = url;
            } else if let Some(address) = told("STOMP over TCP: ") {
                broker.tcp = format!("tcp://{address}");
            } else if let Some(url) = told("metrics and health: ") {
                let address = url.trim_start_matches("http://");
                address
                    .trim_end_matches("/metrics")
                    .clone_into(&mut broker.admin);
                break;
            }
        }
        // Nobody is to wait for a full pipe.
        let log = thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
        broker.log = Some(log);
        broker
    }
}

impl Broker {
    /// Stops it. Returns what it has logged since it listens.
    pub(crate) fn stop(mut self) -> String {
        signal(&self.child, "TERM");
        assert!(self.child.wait().unwrap().success());
        self.log.take().unwrap().join().unwrap()
    }

    /// Waits until a metric has reached a value.
    pub(crate) fn wait_for(&self, metric: &str, value: f64) {
        let begin = Instant::now();
        while self.metric(metric) < value {
            assert!(
                begin.elapsed() < PATIENCE,
                "{metric} has not reached {value}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What a path of the admin port answers.
    pub(crate) fn ask(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// The value of a metric; 0 if there is none.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.ask("/metrics");
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.trim().parse().unwrap())
    }
}

/// How long a noisy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
