//! A broker in a separate process, and what the kernel reports about it.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Door, PATIENCE, ask};

/// A broker on free ports; dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    pub(crate) door: Door,
}

fn binary() -> String {
    env::var("STOMPD_BIN")
        .expect("STOMPD_BIN names the broker to test; tests/run adversary sets it")
}

/// Whether the broker has such a setting, so that older ones can be measured as well.
pub(crate) fn knows(setting: &str) -> bool {
    let output = Command::new(binary()).arg("default-config").output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let line = format!("\n{setting} = ");
    text.contains(&line)
}

impl Broker {
    /// Starts one with these environment variables, and this limit of open files if any.
    pub(crate) fn start(environment: &[(String, String)], files: Option<u32>) -> Self {
        let mut command = match files {
            None => Command::new(binary()),
            Some(files) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
                shell.arg("-c").arg(script).arg(binary());
                shell
            }
        };
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("STOMPD_") {
                command.env_remove(name);
            }
        }
        let anywhere = "127.0.0.1:0";
        let mut child = command
            .args(["serve", "--websocket", anywhere, "--tcp", anywhere])
            .args(["--admin", anywhere])
            // A folder without broker.toml.
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut addresses = Vec::new();
        while addresses.len() < 3 {
            let line = lines.next().expect("a broker that starts").unwrap();
            let at = ["WebSocket: ws://", "TCP: ", "health: http://"];
            let found = at.iter().find_map(|before| line.split_once(before));
            if let Some((_, rest)) = found {
                let end = rest.find(['/', ' ']).unwrap_or(rest.len());
                addresses.push(rest[..end].parse().unwrap());
            }
        }
        // A full pipe would stop the broker.
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let door = Door {
            websocket: addresses[0],
            tcp: addresses[1],
            admin: addresses[2],
        };
        Self { child, door }
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(&self.child.id().to_string())
    }

    /// Resident memory now, in MiB.
    pub(crate) fn resident(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// Resident memory at its peak, in MiB.
    pub(crate) fn peak(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.split_whitespace().next());
        // A process that has ended has none.
        kib.map_or(f64::NAN, |kib| kib.parse::<f64>().unwrap() / 1024.0)
    }

    /// The value of a metric, with its labels as Prometheus writes them; 0 if there is none.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let Some((text, _)) = ask(self.door.admin, "/metrics") else {
            return 0.0;
        };
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// Waits until a metric is at least this; returns whether it was in time.
    pub(crate) fn reaches(&self, name: &str, value: f64, time: Duration) -> bool {
        let begin = Instant::now();
        while self.metric(name) < value {
            if begin.elapsed() > time.min(PATIENCE) {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Whether the process runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time of a process, `self` being this one.
pub(crate) fn cpu_of(process: &str) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = text.rsplit_once(')').unwrap();
    let fields: Vec<_> = fields.split_whitespace().collect();
    ticks(&[fields[11], fields[12]])
}

/// Time the processors spent on processes: user, nice, system and steal.
pub(crate) fn cpu_of_all() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let fields: Vec<_> = text.lines().next().unwrap().split_whitespace().collect();
    ticks(&[fields[1], fields[2], fields[3], fields[8]])
}

fn ticks(fields: &[&str]) -> Duration {
    // The unit is USER_HZ, which is 100 on all current Linux systems.
    let ticks: u64 = fields
        .iter()
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}
