//! `stompd completions` and `stompd man`.

use std::process::Command;

use crate::support::{run, run_with, stompd};

const COMMANDS: [&str; 9] = [
    "serve",
    "check-config",
    "default-config",
    "healthcheck",
    "pub",
    "sub",
    "bench",
    "completions",
    "man",
];

/// Whether this machine has a program.
fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (status, script, err) = run(&mut stompd(&["completions", shell]));
        assert_eq!((status, err.as_str()), (Some(0), ""), "{shell}");
        for word in COMMANDS.into_iter().chain(["no-receipt", "publishers"]) {
            assert!(script.contains(word), "{shell}: {word}");
        }
        // Where a shell can check a script without running it, it does.
        if shell != "powershell" && shell != "elvish" && exists(shell) {
            let (status, _, err) = run_with(Command::new(shell).arg("-n"), script.as_bytes());
            assert_eq!((status, err.as_str()), (Some(0), ""), "{shell}");
        }
    }
}

#[test]
fn the_manual_leads_to_every_command() {
    let (status, page, _) = run(&mut stompd(&["man"]));
    assert_eq!(status, Some(0));
    assert!(page.contains(".TH stompd 1 "), "{page}");
    for command in COMMANDS {
        let name = format!("stompd-{command}");
        let escaped = name.replace('-', "\\-");
        assert!(page.contains(&format!("{escaped}(1)")), "{command}: {page}");
        let (status, page, _) = run(&mut stompd(&["man", command]));
        assert_eq!(status, Some(0));
        assert!(page.contains(&format!(".TH {name} 1 ")), "{page}");
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    let (_, page, _) = run(&mut stompd(&["man", "pub"]));
    assert!(page.contains("\\-\\-no\\-receipt"), "{page}");
    assert_eq!(run(&mut stompd(&["man", "nope"])).0, Some(2));
}

#[test]
fn a_page_is_roff() {
    // The test above checks what can be checked without it.
    if !exists("man") {
        return;
    }
    for arguments in [&["man"][..], &["man", "sub"]] {
        let (_, page, _) = run(&mut stompd(arguments));
        let mut command = Command::new("man");
        command
            .args(["--warnings", "-l", "-"])
            .env("MANWIDTH", "80");
        let (status, text, err) = run_with(&mut command, page.as_bytes());
        assert_eq!((status, err.as_str()), (Some(0), ""));
        assert!(text.contains("SYNOPSIS"), "{text}");
    }
}
