//! The commands around the configuration: what they print, where, and what they leave with.

use std::fs;

use crate::support::{Broker, directory, run, stompd};

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
        "healthcheck",
        "pub",
        "sub",
        "bench",
        "completions",
        "man",
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
        (Some(0), include_str!("../../../broker.toml"))
    );
}

#[test]
fn default_config_passes_check_config() {
    let (_, reference, _) = run(&mut stompd(&["default-config"]));
    let directory = directory("reference", Some(&reference));
    let (status, out, err) = run(stompd(&["check-config"]).current_dir(directory));
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(
        out.starts_with("# ok: broker.toml\n\n[listen]\nwebsocket = \"127.0.0.1:15674\" "),
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
    for (setting, source) in [
        ("websocket = \"127.0.0.1:15674\"", "default"),
        ("tcp = \"localhost:0\"", "--tcp"),
        ("admin = \"\"", "STOMPD__LISTEN__ADMIN"),
        ("body = \"1MiB\"", "broker.toml"),
        ("headers = 8", "STOMPD__LIMITS__HEADERS"),
        ("level = \"debug\"", "--log-level"),
    ] {
        let parts = out.lines().filter_map(|line| line.split_once(" # "));
        let mut found = parts.map(|(setting, source)| (setting.trim_end(), source));
        assert!(found.any(|it| it == (setting, source)), "{setting}: {out}");
    }
}

#[test]
fn what_check_config_prints_is_a_configuration() {
    let here = directory("again", Some("[limits]\nbody = \"1MiB\"\n"));
    let printed = run(stompd(&["check-config", "--tcp", "[::1]:0"]).current_dir(&here)).1;
    fs::write(here.join("printed.toml"), &printed).unwrap();
    let (status, again, _) =
        run(stompd(&["check-config", "-c", "printed.toml"]).current_dir(&here));
    assert_eq!(status, Some(0));
    let settings = |text: &str| -> Vec<String> {
        let lines = text.lines().skip(1).map(|line| line.split(" # ").next());
        lines.flatten().map(|it| it.trim_end().to_owned()).collect()
    };
    assert_eq!(settings(&again), settings(&printed));
    assert!(again.contains(" # printed.toml"), "{again}");
    assert!(!again.contains(" # default"), "{again}");
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
            out.starts_with("# ok: other.toml\n") && out.contains("\nbody = 2 "),
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
fn settings_of_the_broker_are_refused_where_they_would_be_ignored() {
    let (status, out, err) = run(&mut stompd(&["--tcp", "", "pub", "/topic/a", "x"]));
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(err.contains("--tcp is for the broker"), "{err}");
}

#[test]
fn flags_stand_before_the_command_or_behind_it() {
    let here = directory("flags", None);
    let out = run(stompd(&["--tcp", "a:1", "check-config", "--tcp", "b:2"]).current_dir(&here)).1;
    assert!(out.contains("tcp = \"b:2\" "), "{out}");
    let out = run(stompd(&["--tcp", "a:1", "check-config"]).current_dir(&here)).1;
    assert!(out.contains("tcp = \"a:1\" "), "{out}");
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

#[test]
fn neither_passcodes_nor_bodies_are_logged_at_any_level() {
    let broker = Broker::start(&["--log-level", "trace"]);
    for url in [&broker.websocket, &broker.tcp] {
        let what = [
            "pub",
            "--url",
            url,
            "--login",
            "ada",
            "--passcode",
            "s3cret",
        ];
        let (status, ..) = run(&mut stompd(&[&what[..], &["/topic/a", "b0dy"]].concat()));
        assert_eq!(status, Some(0));
    }
    let log = broker.stop();
    assert!(log.contains("connected"), "the level is in force: {log}");
    assert!(!log.contains("s3cret") && !log.contains("b0dy"), "{log}");
}
