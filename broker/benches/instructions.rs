//! Counts the instructions of each workload under callgrind and compares them with those in
//! `instructions.txt`, which `-- --write` rewrites. README.md says when.
#![expect(clippy::print_stdout, reason = "people read its output")]

mod workloads;

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::hint::black_box;
use std::process::{Command, ExitCode};

use workloads::{ALL, Workload};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    // `cargo bench` adds an argument of its own, `cargo test --benches` none.
    let done = match words[..] {
        ["--bench"] => compare(),
        ["--write", "--bench"] => write(),
        [name] => run(name),
        _ => ALL.iter().try_for_each(|workload| run(workload.name)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The part that callgrind measures.
fn run(name: &str) -> Result<()> {
    let workload = ALL.iter().find(|workload| workload.name == name);
    let prepare = workload.ok_or("there is no such workload")?.prepare;
    // The first run detects the features of the processor, once.
    prepare()();
    measured(&mut *prepare());
    Ok(())
}

/// Instructions are counted from its start to its end.
#[inline(never)]
fn measured(run: &mut dyn FnMut()) {
    run();
    // If it ended with a call, callgrind could not see its end.
    black_box(());
}

fn compare() -> Result<()> {
    let baseline = fs::read_to_string(BASELINE)?;
    let (theirs, counts) = baseline.split_once("\n\n").unwrap_or_default();
    let ours = tools()?;
    if ours != theirs {
        println!(
            "Counted with other tools, so nothing fails.\n\nBaseline:\n{theirs}\n\nHere:\n{ours}\n"
        );
    }
    let mut grown = Vec::new();
    for workload in &ALL {
        let growth = growth(workload, count(workload)?, counts)?;
        if growth > TOLERANCE {
            grown.push(workload.name);
        }
    }
    if ours == theirs && !grown.is_empty() {
        let grown = grown.join(", ");
        return Err(format!(
            "\nMore than {TOLERANCE} % more instructions: {grown}. See broker/benches/README.md."
        )
        .into());
    }
    Ok(())
}

/// Returns by how many percent the count of a workload has grown, and prints it.
fn growth(workload: &Workload, count: u64, baseline: &str) -> Result<f64> {
    let (name, each) = (workload.name, count / workload.units);
    let before = baseline.lines().find_map(|line| line.strip_prefix(name));
    let before = before.ok_or_else(|| format!("{name} is not in the baseline"))?;
    let before: u64 = before.trim().parse()?;
    #[expect(clippy::cast_precision_loss, reason = "they are far below 2^52")]
    let growth = 100.0 * (count as f64 / before as f64 - 1.0);
    println!("{name:<15} {count:>9} {each:>6} each {growth:+6.2} %");
    Ok(growth)
}

fn write() -> Result<()> {
    let mut baseline = tools()? + "\n\n";
    for workload in &ALL {
        let count = count(workload)?;
        writeln!(baseline, "{:<15} {count:>9}", workload.name)?;
    }
    print!("{baseline}");
    Ok(fs::write(BASELINE, baseline)?)
}

/// Counts the instructions of a workload in a separate process. The profile stays in the target
/// directory.
fn count(workload: &Workload) -> Result<u64> {
    let profile = concat!(env!("CARGO_TARGET_TMPDIR"), "/callgrind.");
    let done = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--toggle-collect=instructions::measured*",
        ])
        .arg(format!("--callgrind-out-file={profile}{}", workload.name))
        .arg(std::env::current_exe()?)
        .arg(workload.name)
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    match collected {
        Some((_, count)) if done.status.success() => Ok(count.trim().parse()?),
        _ => Err(said.into()),
    }
}

/// What a count depends on besides our code.
fn tools() -> Result<String> {
    let rustc = said("rustc", &["-vV"])?;
    let target = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    Ok([
        rustc.lines().next().unwrap_or_default(),
        &said("valgrind", &["--version"])?,
        &said("getconf", &["GNU_LIBC_VERSION"])?,
        target.unwrap_or_default(),
        vectors(),
    ]
    .join("\n"))
}

/// The instructions that memchr, simdutf8 and libc choose if the processor has them.
#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    if std::arch::is_x86_feature_detected!("avx2") {
        "avx2"
    } else {
        "sse2"
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    "vectors of the target"
}

fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let done = Command::new(program).args(arguments).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8(done.stdout)?.trim().to_owned())
}

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
/// More growth than this, in percent, is too much.
const TOLERANCE: f64 = 5.0;
