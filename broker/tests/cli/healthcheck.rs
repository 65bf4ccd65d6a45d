//! `stompd healthcheck`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use crate::support::{Broker, directory, run, stompd};

/// `host:port` of a URL; the empty text, which turns a listener off, stays empty.
fn address(url: &str) -> &str {
    let address = url.split_once("://").map_or(url, |(_, rest)| rest);
    address.split('/').next().unwrap_or_default()
}

fn healthcheck(websocket: &str, tcp: &str, admin: &str) -> Command {
    let mut command = stompd(&["healthcheck"]);
    command
        .current_dir(directory("healthcheck", None))
        .args(["--websocket", address(websocket)])
        .args(["--tcp", address(tcp)])
        .args(["--admin", address(admin)]);
    command
}

#[test]
fn the_first_listener_that_is_on_is_asked() {
    let broker = Broker::start(&[]);
    let Broker {
        websocket,
        tcp,
        admin,
        ..
    } = &broker;
    let nobody = "127.0.0.1:1";
    for (mut command, expected) in [
        (healthcheck(websocket, nobody, nobody), websocket.clone()),
        (healthcheck("", tcp, nobody), tcp.clone()),
        (
            healthcheck("", "", admin),
            format!("http://{admin}/healthz"),
        ),
    ] {
        let expected = format!("healthy: {expected} answers\n");
        assert_eq!(run(&mut command), (Some(0), expected, String::new()));
    }
}

#[test]
fn every_interface_is_asked_on_loopback() {
    let broker = Broker::with(&[], &[("STOMPD__LISTEN__TCP", "0.0.0.0:0")]);
    let tcp = broker.tcp.replace("tcp://", "");
    assert!(tcp.starts_with("0.0.0.0:"), "{tcp}");
    assert_eq!(run(&mut healthcheck("", &tcp, "")).0, Some(0));
}

#[test]
fn a_path_that_was_configured_is_asked() {
    let environment = [("STOMPD__LISTEN__PATHS", "/other")];
    let broker = Broker::with(&[], &environment);
    let mut command = healthcheck(&broker.websocket, "", "");
    let (status, _, err) = run(command.envs(environment));
    assert_eq!((status, err.as_str()), (Some(0), ""));
}

#[test]
fn where_nobody_answers_is_no_health() {
    let nobody = "127.0.0.1:1";
    for mut command in [
        healthcheck(nobody, "", ""),
        healthcheck("", nobody, ""),
        healthcheck("", "", nobody),
    ] {
        let (status, out, err) = run(&mut command);
        assert_eq!((status, out.as_str()), (Some(1), ""));
        assert!(err.starts_with("stompd: unhealthy: "), "{err}");
        assert!(err.contains("refused"), "{err}");
    }
}

#[test]
fn who_takes_connections_and_says_nothing_is_not_healthy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    for (websocket, tcp, admin) in [(&*silent, "", ""), ("", &silent, ""), ("", "", &silent)] {
        let mut command = healthcheck(websocket, tcp, admin);
        let (status, _, err) = run(command.args(["--timeout", "100ms"]));
        assert_eq!(status, Some(1), "{err}");
        assert!(err.contains("within 100ms"), "{err}");
    }
}

#[test]
fn a_full_broker_is_healthy() {
    let broker = Broker::with(&[], &[("STOMPD__LIMITS__CONNECTIONS", "1")]);
    let mut client = TcpStream::connect(address(&broker.tcp)).unwrap();
    client
        .write_all(b"CONNECT\naccept-version:1.2\n\n\0")
        .unwrap();
    client.read_exact(&mut [0]).unwrap();
    for mut command in [
        healthcheck(&broker.websocket, "", ""),
        healthcheck("", &broker.tcp, ""),
    ] {
        let (status, out, err) = run(&mut command);
        assert_eq!((status, err.as_str()), (Some(0), ""));
        // It says what was answered, and that is not CONNECTED.
        assert!(out.contains(" answers: "), "{out}");
    }
}

#[test]
fn a_wrong_configuration_is_1_since_docker_keeps_2() {
    let here = directory("unhealthy", Some("[limits]\nbodyy = 1\n"));
    let (status, _, err) = run(stompd(&["healthcheck"]).current_dir(here));
    assert_eq!(status, Some(1));
    assert!(err.contains("[limits] has no key \"bodyy\""), "{err}");
}
