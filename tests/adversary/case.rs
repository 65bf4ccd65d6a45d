//! One case: a broker, two probers, an adversary, a row of the table, and the assertions.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, cpu_of, cpu_of_all, knows};
use crate::client::{Door, Way};
use crate::prober::{Late, Lateness, Noticed, Prober};

/// The goal for the probers' worst round trip, with and without the waits for a processor.
const WORST: Duration = Duration::from_millis(20);
/// The limit while other processes use the machine.
const WORST_BUSY: Duration = Duration::from_secs(1);
/// The limit without the waits for a processor on an unknown machine.
const WORST_ANYWHERE: Duration = Duration::from_millis(250);
/// How much of one processor other processes may use on a quiet machine.
const OTHERS: f64 = 0.1;
/// How far above the start the resident memory may be after the adversary has left, in MiB.
const BACK: f64 = 16.0;

/// How long one of many clients with work may delay the others of its thread.
const TURN: Duration = Duration::from_micros(200);

/// How long the broker may take to return free memory: it checks every 5 s.
pub(crate) const RETURNED: Duration = Duration::from_secs(12);
/// How long the probers continue after the adversary has left.
const PROBED: Duration = Duration::from_millis(400);
/// How long the broker's processor time is measured after that.
const RESTED: Duration = Duration::from_secs(1);
/// Processor time that the idle broker may use in that time.
const REST: Duration = Duration::from_millis(70);

/// The name of a case, its settings and its limits.
#[derive(Debug)]
pub(crate) struct Case {
    name: &'static str,
    environment: Vec<(String, String)>,
    files: Option<u32>,
    growth: f64,
    back: f64,
    /// How long clients that all have work may delay the prober.
    turns: Duration,
}

/// What an adversary works with.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) broker: Broker,
    pub(crate) door: Door,
    probers: Vec<Prober>,
    failures: Mutex<Vec<String>>,
    times: Mutex<Vec<(&'static str, Duration, Duration)>>,
}

impl Scene {
    /// Records a failed expectation; the case continues and fails at its end.
    pub(crate) fn expect(&self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.failures.lock().unwrap().push(what.into());
        }
    }

    /// Records something that takes `time` and must take at most `goal` on a quiet machine.
    pub(crate) fn at_most(&self, goal: Duration, time: Duration, what: &'static str) {
        self.times.lock().unwrap().push((what, goal, time));
    }

    /// Measures the broker's processor time for `time` without probers.
    pub(crate) fn rested(&self, time: Duration) -> Duration {
        self.rest(true);
        thread::sleep(Duration::from_millis(30));
        let before = self.broker.cpu();
        thread::sleep(time);
        let used = self.broker.cpu().saturating_sub(before);
        self.rest(false);
        used
    }

    fn rest(&self, rest: bool) {
        for prober in &self.probers {
            prober.rest(rest);
        }
    }
}

impl Case {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            environment: Vec::new(),
            files: None,
            growth: f64::INFINITY,
            back: BACK,
            turns: Duration::ZERO,
        }
    }

    /// A setting by its environment variable, such as `LIMITS__BODY`, if the broker has it.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        let key = name.rsplit("__").next().unwrap_or_default().to_lowercase();
        if knows(&key) {
            self.environment
                .push((format!("STOMPD__{name}"), value.to_owned()));
        }
        self
    }

    /// The limit of open files.
    pub(crate) fn files(mut self, files: u32) -> Self {
        self.files = Some(files);
        self
    }

    /// How far the resident memory may grow at the peak, in MiB.
    pub(crate) fn growth(mut self, mebibytes: f64) -> Self {
        self.growth = mebibytes;
        self
    }

    /// This many clients have work at the same moment, and each may be served before the prober.
    pub(crate) fn busy(mut self, clients: u32) -> Self {
        self.turns = TURN * clients;
        self
    }

    /// The memory that the case leaves resident on purpose, in MiB.
    pub(crate) fn leaves(mut self, mebibytes: f64) -> Self {
        self.back = BACK + mebibytes;
        self
    }

    /// Runs the case. `attack` returns its outcome and has closed what it opened.
    pub(crate) fn run(self, attack: impl FnOnce(&Scene) -> String) {
        let broker = Broker::start(&self.environment, self.files);
        let door = broker.door;
        let probers = [Way::Tcp, Way::WebSocket].map(|way| Prober::start(door, way, broker.id()));
        let mut scene = Scene {
            broker,
            door,
            probers: probers.into(),
            failures: Mutex::default(),
            times: Mutex::default(),
        };
        thread::sleep(Duration::from_millis(200));
        for prober in &scene.probers {
            prober.forget();
        }
        let watch = Watch::start();
        let (start, before) = (scene.broker.resident(), scene.broker.cpu());
        let outcome = attack(&scene);
        thread::sleep(PROBED);
        let during = scene.broker.cpu().saturating_sub(before);
        let peak = scene.broker.peak();
        let noise = watch.stop(during);
        let mut after = REST;
        // Work deferred on a busy machine ends eventually; a broker that spins does not.
        for _ in 0..3 {
            after = scene.rested(RESTED);
            if after <= REST {
                break;
            }
        }
        // Free memory is returned when the broker has been idle for some seconds.
        scene.rest(true);
        let returned = || scene.broker.resident() - start <= self.back;
        let end = wait_until(RETURNED, returned, || scene.broker.resident());
        scene.rest(false);

        let noticed: Vec<_> = scene.probers.drain(..).map(Prober::stop).collect();

        let row = format!(
            "{} | {} net {} | {} of {} | {:.2} + {:.2} | {start:.0} → {peak:.0} → {end:.0} | {} | {outcome}",
            self.name,
            each(&noticed, |noticed| milliseconds(noticed.worst)),
            each(&noticed, |noticed| noticed
                .net
                .map_or_else(|| "-".to_owned(), milliseconds)),
            each(&noticed, |noticed| milliseconds(noticed.p99)),
            noticed
                .iter()
                .map(|noticed| noticed.count)
                .min()
                .unwrap_or_default(),
            during.as_secs_f64(),
            after.as_secs_f64(),
            noise.show(),
        );
        if let Some(worst) = noticed.iter().map(|noticed| noticed.worst).max() {
            scene.at_most(WORST + self.turns, worst, "a round trip");
        }
        if let Some(net) = noticed.iter().filter_map(|noticed| noticed.net).max() {
            let bound = noise.net_bound() + self.turns;
            let text = format!("a round trip takes {net:.1?} net, the bound is {bound:.1?}");
            scene.expect(net <= bound, text);
        }
        for noticed in &noticed {
            scene.expect(noticed.count > 0, "no round trip");
            if let Some(why) = &noticed.failure {
                scene.expect(false, format!("a prober ended: {why}"));
            }
        }
        for (what, goal, time) in scene.times.lock().unwrap().drain(..) {
            let bound = noise.bound(goal);
            let text = format!("{what} takes {time:.1?}, the bound is {bound:.1?}");
            scene.expect(time <= bound, text);
        }
        scene.expect(
            peak - start <= self.growth,
            format!("grew by more than {:.0} MiB", self.growth),
        );
        scene.expect(
            end - start <= self.back,
            format!("more than {:.0} MiB stay", self.back),
        );
        scene.expect(
            after <= REST,
            format!("{after:.2?} of processor time at rest"),
        );
        let runs = scene.broker.runs();
        scene.expect(runs, "the broker has exited");
        print(row, &scene.failures.into_inner().unwrap());
    }
}

/// Whether times must meet their goals. Otherwise the limits only catch former defects, so that a
/// slow machine does not fail.
pub(crate) fn strict() -> bool {
    std::env::var("STOMPD_ADVERSARY").is_ok_and(|how| how == "strict")
}

/// Waits until a condition holds, but at most this long; then returns the result of `ask`.
pub(crate) fn wait_until<T>(most: Duration, is_so: impl Fn() -> bool, ask: impl Fn() -> T) -> T {
    let begin = Instant::now();
    while !is_so() && begin.elapsed() < most {
        thread::sleep(Duration::from_millis(100));
    }
    ask()
}

/// Measures what else the machine does during a case; the head of `main.rs` explains it.
struct Watch {
    lateness: Lateness,
    begin: Instant,
    /// Time used by all but this process, the broker included.
    before: Duration,
}

/// What else the machine did.
struct Noise {
    late: Late,
    /// Number of processors that other processes used.
    others: f64,
}

impl Watch {
    fn start() -> Self {
        Self {
            lateness: Lateness::start(),
            begin: Instant::now(),
            before: cpu_of_all().saturating_sub(cpu_of("self")),
        }
    }

    /// `broker` is the time that the broker used meanwhile.
    fn stop(self, broker: Duration) -> Noise {
        let now = cpu_of_all().saturating_sub(cpu_of("self"));
        let others = now.saturating_sub(self.before).saturating_sub(broker);
        Noise {
            others: others.as_secs_f64() / self.begin.elapsed().as_secs_f64(),
            late: self.lateness.stop(),
        }
    }
}

impl Noise {
    fn quiet(&self) -> bool {
        strict() && self.others <= OTHERS
    }

    /// The limit for a time with this goal.
    fn bound(&self, goal: Duration) -> Duration {
        let base = if self.quiet() {
            goal
        } else {
            goal.max(WORST_BUSY)
        };
        base + 3 * self.late.all
    }

    /// The limit for a round trip without the waits for a processor.
    fn net_bound(&self) -> Duration {
        let base = match (strict(), self.quiet()) {
            (true, true) => WORST,
            (true, false) => 2 * WORST,
            (false, _) => WORST_ANYWHERE,
        };
        base + 3 * self.late.machine
    }

    fn show(&self) -> String {
        let others = (self.others * 100.0).round();
        format!(
            "late {} ms, machine {} ms, others {others} %",
            milliseconds(self.late.all),
            milliseconds(self.late.machine)
        )
    }
}

fn each(noticed: &[Noticed], show: impl Fn(&Noticed) -> String) -> String {
    noticed.iter().map(show).collect::<Vec<_>>().join("/")
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

/// Prints a row, also into `adversary.txt` of the target's `tmp`, and fails if any check failed.
fn print(mut row: String, failures: &[String]) {
    if !failures.is_empty() {
        write!(row, " — FAILS: {}", failures.join("; ")).unwrap();
    }
    line(
        "case | probe worst ms, net | probe p99 ms | CPU s | RSS MiB start → peak → after | noise | outcome",
        &row,
    );
    assert!(failures.is_empty(), "{}", failures.join("; "));
}

/// Prints a line of a table, with the header before the first.
pub(crate) fn line(head: &str, row: &str) {
    static FIRST: Once = Once::new();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("adversary.txt");
    FIRST.call_once(|| fs::write(&path, format!("{head}\n")).unwrap());
    // The test name precedes it, without an end of line.
    println!("\n{row}");
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    writeln!(file, "{row}").unwrap();
}
