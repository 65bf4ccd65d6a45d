//! Tests each rule of the configuration through its public interface.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use ::config::ValueKind;

use super::load::assemble;
use super::reference::known;
use super::{Config, ConfigError, Flag, Loaded, LogFormat, REFERENCE, SlowConsumer};

fn load(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> Result<Loaded, ConfigError> {
    assemble(
        Some((PathBuf::from("broker.toml"), text.to_owned())),
        environment
            .iter()
            .map(|&(name, value)| (OsString::from(name), OsString::from(value)))
            .collect(),
        flags
            .iter()
            .map(|&(name, key, value)| Flag {
                name,
                key,
                value: value.to_owned(),
            })
            .collect(),
    )
}

/// A file that is accepted, and its effect.
fn accept(text: &str, change: impl FnOnce(&mut Config)) {
    let mut expected = Config::default();
    change(&mut expected);
    assert_eq!(load(text, &[], &[]).unwrap().config, expected, "{text}");
}

/// A file that is refused, and the complete reason.
#[track_caller]
fn refuse(text: &str, reason: &str) {
    assert_eq!(
        load(text, &[], &[]).unwrap_err().to_string(),
        reason,
        "{text}"
    );
}

/// The same for one environment variable.
#[track_caller]
fn refuse_variable(name: &str, value: &str, reason: &str) {
    assert_eq!(
        load("", &[(name, value)], &[]).unwrap_err().to_string(),
        reason
    );
}

#[test]
fn the_reference_is_the_default() {
    accept(REFERENCE, |_| {});
    accept("", |_| {});
}

#[test]
fn the_reference_has_every_key_once() {
    let defaults = ::config::Config::try_from(&Config::default()).unwrap();
    let ValueKind::Table(sections) = defaults.cache.kind else {
        panic!("sections are expected");
    };
    let mut fields = BTreeSet::new();
    for (section, value) in sections {
        for key in value.into_table().unwrap().into_keys() {
            fields.insert((section.clone(), key));
        }
    }
    let written: Vec<_> = known::settings()
        .map(|(section, key)| (section.to_owned(), key.to_owned()))
        .collect();
    assert_eq!(written.iter().cloned().collect::<BTreeSet<_>>(), fields);
    assert_eq!(written.len(), fields.len());
}

#[test]
fn settings_in_force_can_be_read_again() {
    let text = r#"
        [listen]
        websocket = "[::1]:0"
        tcp = ""
        paths = ["/\"quoted\"", "/back\\slash"]
        [heart_beat]
        send = "1m 30s"
        [limits]
        body = 1000001
        outbox_bytes = "2GiB"
        slow_consumer = "drop-oldest"
        [log]
        level = "info,[span{user=\"a\"}]=debug"
    "#;
    let config = load(text, &[], &[]).unwrap().config;
    let printed = config.to_string();
    assert!(
        printed.starts_with("[listen]\nwebsocket = \"[::1]:0\"\ntcp = \"\"\n"),
        "{printed}"
    );
    assert!(printed.contains("\nsend = \"1m 30s\"\n"), "{printed}");
    assert!(printed.contains("\nbody = 1000001\n"), "{printed}");
    assert!(printed.contains("\noutbox_bytes = \"2GiB\"\n"), "{printed}");
    assert_eq!(load(&printed, &[], &[]).unwrap().config, config);
}

#[test]
fn values_are_read() {
    accept("[listen]\ntcp = \"localhost:0\"", |config| {
        config.listen.tcp = Some("localhost:0".to_owned());
    });
    accept("[listen]\nadmin = \"\"", |config| {
        config.listen.admin = None;
    });
    accept("[listen]\npaths = [\"/a\"]", |config| {
        config.listen.paths = vec!["/a".to_owned()];
    });
    accept("[heart_beat]\nping = \"0s\"", |config| {
        config.heart_beat.ping = Duration::ZERO;
    });
    accept("[admin]\ndemo = false", |config| {
        config.admin.demo = false;
    });
    accept("[stop]\ndelay = \"500ms\"", |config| {
        config.stop.delay = Duration::from_millis(500);
    });
    accept("[limits]\nbody = \"1MB\"", |config| {
        config.limits.body = 1_000_000;
    });
    accept("[limits]\nbody = 70000", |config| {
        config.limits.body = 70_000;
    });
    accept("[limits]\nslow_consumer = \"drop-oldest\"", |config| {
        config.limits.slow_consumer = SlowConsumer::DropOldest;
    });
    accept("[runtime]\nworkers = 3", |config| {
        config.runtime.workers = 3;
    });
    accept("[log]\nformat = \"json\"", |config| {
        config.log.format = LogFormat::Json;
    });
    accept(
        "[log]\nlevel = \"info,stompd::connection=debug\"",
        |config| {
            config.log.level = "info,stompd::connection=debug".to_owned();
        },
    );
}

#[test]
fn the_environment_outdoes_the_file_and_flags_outdo_both() {
    let text = "[listen]\ntcp = \"a:1\"\nwebsocket = \"a:1\"\nadmin = \"a:1\"";
    let environment = [
        ("STOMPD__LISTEN__TCP", "b:2"),
        ("STOMPD__LISTEN__ADMIN", "b:2"),
        ("STOMPD_IGNORED", "x"),
    ];
    let Loaded { config, origin } =
        load(text, &environment, &[("--admin", "listen.admin", "c:3")]).unwrap();
    assert_eq!(config.listen.websocket.as_deref(), Some("a:1"));
    assert_eq!(config.listen.tcp.as_deref(), Some("b:2"));
    assert_eq!(config.listen.admin.as_deref(), Some("c:3"));
    assert_eq!(
        origin.to_string(),
        "broker.toml, STOMPD__LISTEN__ADMIN, STOMPD__LISTEN__TCP, --admin"
    );
}

#[test]
fn variables_hold_every_kind_of_value() {
    let environment = [
        ("STOMPD__LISTEN__TCP", ""),
        ("STOMPD__LISTEN__PATHS", "/a, /b"),
        ("STOMPD__HEART_BEAT__SEND", "1s"),
        ("STOMPD__LIMITS__BODY", "1024"),
        ("STOMPD__LIMITS__HEADERS", "12"),
    ];
    let config = load("", &environment, &[]).unwrap().config;
    assert_eq!(config.listen.tcp, None);
    assert_eq!(config.listen.paths, ["/a", "/b"]);
    assert_eq!(config.heart_beat.send, Duration::from_secs(1));
    assert_eq!(config.limits.body, 1024);
    assert_eq!(config.limits.headers, 12);
}

#[test]
fn the_fault_is_found_where_it_stands() {
    refuse(
        "[limits]\nslow_consumer = \"fast\"",
        r#"broker.toml: limits.slow_consumer: "fast" is not known; allowed: "disconnect", "drop-oldest""#,
    );
    refuse_variable(
        "STOMPD__LIMITS__BODY",
        "4 parsecs",
        r#"STOMPD__LIMITS__BODY: "4 parsecs" is not a size; write "64KiB", "4MiB" or a number of bytes"#,
    );
    let flag = ("--tcp", "listen.tcp", "61613");
    let error = load("", &[], &[flag]).unwrap_err().to_string();
    assert!(
        error.starts_with(r#"--tcp: "61613" is not an address; write "host:port""#),
        "{error}"
    );
}

#[test]
fn what_is_not_known_is_refused() {
    refuse(
        "[stop]\nspred = \"1s\"",
        r#"broker.toml: [stop] has no key "spred" (did you mean "spread"?); known keys: delay, spread, flush"#,
    );
    refuse(
        "[limit]",
        "broker.toml: there is no section [limit] (did you mean \"limits\"?); \
         known sections: listen, heart_beat, limits, queue, admin, stop, runtime, log",
    );
    refuse(
        "limits = 3",
        "broker.toml: limits is a section; begin it with a line [limits]",
    );
    refuse(
        "[[limits]]",
        "broker.toml: limits is a section; begin it with a line [limits]",
    );
    refuse_variable(
        "STOMPD__LIMITS__BODYY",
        "1",
        "STOMPD__LIMITS__BODYY: there is no such setting (did you mean \"STOMPD__LIMITS__BODY\"?); a variable is \
         STOMPD__SECTION__KEY, and `stompd default-config` prints every setting",
    );
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let error = load("[limits]\nbody = \n", &[], &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("broker.toml: TOML parse error at line 2, column 8"),
        "{error}"
    );
    assert!(!error.ends_with('\n'), "{error}");
}

#[test]
fn a_value_has_the_form_of_its_setting() {
    let cases = [
        (
            "[listen]\ntcp = \":61613\"",
            r#"":61613" is not an address"#,
        ),
        (
            "[listen]\ntcp = \"localhost\"",
            r#""localhost" is not an address"#,
        ),
        (
            "[listen]\ntcp = \"localhost:65536\"",
            r#""localhost:65536" is not an address"#,
        ),
        (
            "[listen]\ntcp = \"localhost:+80\"",
            r#""localhost:+80" is not an address"#,
        ),
        (
            "[listen]\ntcp = \"::1:80\"",
            r#""::1:80" is not an address"#,
        ),
        ("[listen]\ntcp = 61613", "61613 is not an address"),
        ("[listen]\npaths = [1]", "a list is not a list of strings"),
        ("[heart_beat]\nsend = 10", "10 is not a duration"),
        ("[heart_beat]\nsend = \"-1s\"", r#""-1s" is not a duration"#),
        ("[heart_beat]\nsend = \"50days\"", r#""50days" is too long"#),
        (
            "[heart_beat]\nsend = \"10us\"",
            r#""10us" is finer than a millisecond"#,
        ),
        ("[limits]\nbody = -3", "-3 is not a size"),
        ("[limits]\nbody = \"2TiB\"", r#""2TiB" is too large"#),
        ("[limits]\nheaders = 2.5", "2.5 is not a count"),
        ("[limits]\nheaders = true", "true is not a count"),
        ("[limits]\nheaders = \"1KiB\"", r#""1KiB" is not a count"#),
        ("[limits.headers]\nmost = 1", "a table is not a count"),
        (
            "[log]\nformat = \"xml\"",
            r#""xml" is not known; allowed: "text", "json""#,
        ),
        ("[log]\nlevel = \"inof\"", r#""inof" is not a log level"#),
        ("[log]\nlevel = \"\"", r#""" is not a log level"#),
        (
            "[log]\nlevel = \"stompd=loud\"",
            r#""stompd=loud" is not a log level"#,
        ),
    ];
    for (text, reason) in cases {
        let error = load(text, &[], &[]).unwrap_err().to_string();
        assert!(error.contains(&format!(": {reason}")), "{text}: {error}");
    }
}

#[test]
fn zero_is_refused_where_nothing_would_work() {
    let counts = [
        "body",
        "headers",
        "header_line",
        "header_bytes",
        "connections",
        "subscriptions",
        "outbox_bytes",
        "outbox_messages",
    ];
    let durations = ["connect_timeout", "stall"];
    let texts = counts
        .map(|key| (key, "0"))
        .into_iter()
        .chain(durations.map(|key| (key, "\"0s\"")));
    for (key, zero) in texts {
        refuse(
            &format!("[limits]\n{key} = {zero}"),
            &format!(
                "broker.toml: limits.{key}: {zero} lets nothing through; write more than zero"
            ),
        );
    }
}

#[test]
fn settings_do_not_contradict_each_other() {
    refuse_variable(
        "STOMPD__LIMITS__HEADER_BYTES",
        "1KiB",
        "STOMPD__LIMITS__HEADER_BYTES: one header line may have 16384 bytes, but all of them together only 1024; \
         allowed: header_line up to header_bytes",
    );
    refuse(
        "[listen]\nwebsocket = \"\"\ntcp = \"\"\nadmin = \"\"",
        "broker.toml: listen.websocket, listen.tcp, listen.admin: all listeners are off, nobody could connect; \
         set one of them to \"host:port\"",
    );
    refuse_variable(
        "STOMPD__LISTEN__PATHS",
        "",
        "STOMPD__LISTEN__PATHS: there is no path, no WebSocket could be opened; write a path such as \"/ws\", \
         or set listen.websocket to \"\"",
    );
    for path in ["ws", "/", "/ws?a", "/w s", "/ws#a", ""] {
        refuse(
            &format!("[listen]\npaths = [{path:?}]"),
            &format!(
                "broker.toml: listen.paths: {path:?} is not a path; write one such as \"/ws\", more than \"/\" and \
                 without a query"
            ),
        );
    }
    // One of the largest messages must fit into an outbox, and into a consumer's prefetch.
    let more = 8 * 1024 * 1024 - 64 * 1024 + 1;
    for (key, table) in [
        ("limits.outbox_bytes", ""),
        ("queue.prefetch_bytes", "outbox_bytes = \"1GiB\""),
    ] {
        refuse(
            &format!("[limits]\nbody = {more}\n{table}"),
            &format!(
                "broker.toml: limits.body, limits.header_bytes, {key}: a message may have 8388609 bytes (limits.body \
                 and limits.header_bytes), more than the 8388608 of {key}; raise {key} to 8388609 or more, or lower \
                 limits.body"
            ),
        );
    }
    accept(&format!("[limits]\nbody = {}", more - 1), |config| {
        config.limits.body = more - 1;
    });
    refuse(
        "[limits]\nbody = 1073741825\noutbox_bytes = \"4GiB\"\n[queue]\nprefetch_bytes = \"4GiB\"",
        "broker.toml: limits.body: 1073741825 bytes are too many; allowed: up to \"1GiB\"",
    );
    refuse(
        "[limits]\nheader_bytes = \"17MiB\"",
        "broker.toml: limits.header_bytes: 17825792 bytes are too many; allowed: up to \"16MiB\"",
    );
    let largest = "[limits]\nbody = \"1GiB\"\nheader_bytes = \"16MiB\"\noutbox_bytes = \"2GiB\"\n\
                   [queue]\nprefetch_bytes = \"2GiB\"";
    accept(largest, |config| {
        config.limits.body = 1 << 30;
        config.limits.header_bytes = 16 << 20;
        config.limits.outbox_bytes = 2 << 30;
        config.queue.prefetch_bytes = 2 << 30;
    });
    refuse(
        "[runtime]\nworkers = 1025",
        "broker.toml: runtime.workers: 1025 threads are too many; allowed: up to 1024, or 0 for one per core",
    );
}

#[test]
fn a_named_file_has_to_exist() {
    let source = super::Source {
        file: Some(PathBuf::from("no/such.toml")),
        ..super::Source::default()
    };
    let error = Config::load(source).unwrap_err().to_string();
    assert!(
        error.starts_with("no/such.toml: cannot be read: "),
        "{error}"
    );
}
