//! The program as its users call it: what it prints, where, and what it leaves with.

#![expect(
    clippy::unwrap_used,
    reason = "a test helper that fails is a failed test"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A directory of one test, with a `broker.toml` in it if a text is given.
fn directory(name: &str, broker_toml: Option<&str>) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    if let Some(text) = broker_toml {
        fs::write(directory.join("broker.toml"), text).unwrap();
    }
    directory
}

fn stompd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stompd"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STOMPD__") {
            command.env_remove(name);
        }
    }
    command
}

/// Exit status, standard output and standard error.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
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

#[test]
fn version() {
    let expected = format!("stompd {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        run(&mut stompd(&["--version"])),
        (Some(0), expected, String::new())
    );
}

#[test]
fn help_names_commands_and_examples() {
    let (status, out, err) = run(&mut stompd(&["--help"]));
    assert_eq!((status, err.as_str()), (Some(0), ""));
    for word in [
        "serve",
        "check-config",
        "default-config",
        "--websocket",
        "--log-level",
        "Examples:",
    ] {
        assert!(out.contains(word), "{word}: {out}");
    }
}

#[test]
fn default_config_is_the_reference_byte_for_byte() {
    let (status, out, _) = run(&mut stompd(&["default-config"]));
    assert_eq!(
        (status, out.as_str()),
        (Some(0), include_str!("../../broker.toml"))
    );
}

#[test]
fn default_config_passes_check_config() {
    let (_, reference, _) = run(&mut stompd(&["default-config"]));
    let directory = directory("reference", Some(&reference));
    let (status, out, err) = run(stompd(&["check-config"]).current_dir(directory));
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(
        out.starts_with("# ok: broker.toml\n\n[listen]\nwebsocket = \"127.0.0.1:15674\"\n"),
        "{out}"
    );
}

#[test]
fn check_config_merges_file_environment_and_flags() {
    let directory = directory("merge", Some("[limits]\nbody = \"1MiB\"\nheaders = 7\n"));
    let mut command = stompd(&[
        "check-config",
        "--tcp",
        "localhost:0",
        "--log-level",
        "debug",
    ]);
    command
        .current_dir(directory)
        .env("STOMPD__LIMITS__HEADERS", "8")
        .env("STOMPD__LISTEN__ADMIN", "");
    let (status, out, err) = run(&mut command);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let origin =
        "# ok: broker.toml, STOMPD__LIMITS__HEADERS, STOMPD__LISTEN__ADMIN, --tcp, --log-level\n";
    assert!(out.starts_with(origin), "{out}");
    for line in [
        "tcp = \"localhost:0\"",
        "admin = \"\"",
        "body = \"1MiB\"",
        "headers = 8",
        "level = \"debug\"",
    ] {
        assert!(out.lines().any(|it| it == line), "{line}: {out}");
    }
}

#[test]
fn a_named_file_goes_before_the_one_here() {
    let here = directory("named", Some("[limits]\nbody = 1\n"));
    fs::write(here.join("other.toml"), "[limits]\nbody = 2\n").unwrap();
    for arguments in [
        ["-c", "other.toml", "check-config"],
        ["check-config", "--config", "other.toml"],
    ] {
        let (status, out, _) = run(stompd(&arguments).current_dir(&here));
        assert_eq!(status, Some(0));
        assert!(
            out.starts_with("# ok: other.toml\n") && out.contains("\nbody = 2\n"),
            "{out}"
        );
    }
}

#[test]
fn a_wrong_configuration_ends_with_2_and_the_reason() {
    let here = directory("wrong", Some("[limits]\nbodyy = 1\n"));
    for command in ["check-config", "serve"] {
        let (status, out, err) = run(stompd(&[command]).current_dir(&here));
        assert_eq!((status, out.as_str()), (Some(2), ""));
        let reason = "stompd: broker.toml: [limits] has no key \"bodyy\" (did you mean \"body\"?); known keys: ";
        assert!(err.starts_with(reason), "{err}");
    }
    let (status, _, err) = run(&mut stompd(&["--config", "no/such.toml"]));
    assert_eq!(status, Some(2));
    assert!(
        err.starts_with("stompd: no/such.toml: cannot be read: "),
        "{err}"
    );
}

#[test]
fn a_wrong_variable_ends_with_2_and_its_name() {
    let here = directory("variable", None);
    for (name, value) in [
        ("STOMPD__LIMITS__BODY", "4 parsecs"),
        ("STOMPD__LIMIT__BODY", "1"),
    ] {
        let (status, _, err) = run(stompd(&[]).current_dir(&here).env(name, value));
        assert_eq!(status, Some(2));
        assert!(err.starts_with(&format!("stompd: {name}: ")), "{err}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [["--nope", "x"], ["swerve", "x"], ["--tcp", "x"]] {
        let (status, out, err) = run(&mut stompd(&arguments));
        assert_eq!((status, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.contains(arguments[0]), "{err}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    for argument in ["default-config", "check-config", "--help"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let here = directory("pipe", None);
        let status = stompd(&[argument])
            .current_dir(here)
            .stdout(writer)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0), "{argument}");
    }
}
