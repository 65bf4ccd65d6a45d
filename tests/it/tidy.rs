//! Rules that the compiler does not check: which module may import which, and what stays out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Allowed imports below a path. Above the wall in `broker/src` only our own modules count.
const MAY_IMPORT: &[(&str, &str)] = &[
    ("broker/src/admin", "metrics"),
    ("broker/src/auth", "engine::session"),
    ("broker/src/cli/", "client config error logging server"),
    ("broker/src/client/", ""),
    ("broker/src/config", "config"),
    (
        "broker/src/connection",
        "auth encoding engine hub metrics outbox queues transport turn websocket::WebSocketFault",
    ),
    ("broker/src/encoding", "engine websocket"),
    (
        BELOW[0],
        "engine bytes bytestring stomp_codec std::borrow std::collections std::fmt std::hash std::mem std::num \
         std::sync::Arc std::time websocket::PROTOCOL_ERROR websocket::WebSocketFault",
    ),
    ("broker/src/error.rs", "config"),
    (
        "broker/src/hub",
        "encoding engine metrics outbox queues turn",
    ),
    ("broker/src/lib.rs", ""),
    ("broker/src/logging.rs", "config"),
    ("broker/src/main.rs", ""),
    ("broker/src/metrics.rs", ""),
    ("broker/src/outbox", "config::SlowConsumer encoding engine"),
    (
        "broker/src/queues",
        "config::SlowConsumer encoding engine metrics outbox turn",
    ),
    (
        "broker/src/server",
        "admin auth config connection engine error hub metrics outbox queues transport websocket",
    ),
    (
        "broker/src/transport",
        "encoding::Framing outbox::Wire websocket",
    ),
    ("broker/src/turn.rs", ""),
    (BELOW[1], "bytes std::fmt std::mem std::ops"),
    (
        BELOW[2],
        "bytes bytestring memchr nom smallvec std::borrow std::fmt std::mem \
         block decoder encode error escape frame headers input limits parse version \
         Command DecodeError Frame Headers Limits Version",
    ),
];
const BELOW: [&str; 3] = [
    "broker/src/engine",
    "broker/src/websocket",
    "stomp-codec/src",
];

/// Words of the code, and the only paths below which they may occur.
const WORDS: &[(&str, &str)] = &[
    ("print!(", CLI),
    ("println!(", "broker/src/cli/ tests/it/queue_torture.rs"),
    ("io::stdout", CLI),
    ("stdout()", CLI),
    ("io::stderr", "broker/src/cli/ broker/src/logging.rs"),
    ("process::exit", ""),
    ("env::var", "broker/src/cli/ tests/it/queue_torture.rs"),
    ("unsafe {", "broker/src/server/trim.rs"),
    (concat!("todo", "!("), ""),
    (concat!("dbg", "!("), ""),
    (concat!("unimplemented", "!("), ""),
    (concat!("#[", "ignore"), ""),
];

const CLI: &str = "broker/src/cli/";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the Rust files below a folder of the repository: name and text without comments.
fn sources(folder: &str) -> Vec<(String, String)> {
    let (mut sources, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
                let text = fs::read_to_string(&path).unwrap();
                let is_code = |line: &&str| !line.trim_start().starts_with("//");
                let code: Vec<_> = text.lines().filter(is_code).collect();
                sources.push((name.to_owned(), code.join("\n")));
            }
        }
    }
    assert!(sources.len() > 3, "{folder}");
    sources
}

/// Returns the names in the `use` lines; every member of a group.
fn imports(code: &str) -> Vec<String> {
    let mut imports = Vec::new();
    for line in code.split(';') {
        let Some((before, path)) = line.rsplit_once("use ") else {
            continue;
        };
        let before = before.rsplit('\n').next().unwrap_or_default().trim();
        // Not the end of another word, such as that of a `struct Pause {`.
        if matches!(before, "" | "pub" | "pub(super)" | "pub(crate)") {
            let mut path: String = path.split_whitespace().collect();
            // For a nested group its prefix is enough.
            while let (true, Some(open)) = (path.matches('{').count() > 1, path.rfind('{')) {
                let close = path[open..].find('}').unwrap();
                path.replace_range(open..=open + close, "");
            }
            let (prefix, group) = path.split_once('{').unwrap_or((&path, ""));
            let members = group.trim_end_matches('}').split(',');
            let members = members.filter(|member| !member.is_empty() || group.is_empty());
            imports.extend(members.map(|member| format!("{prefix}{member}")));
        }
    }
    imports
}

#[test]
fn imports_below_the_wall_have_no_circle() {
    let engine = imports_of_parts("engine");
    assert!(engine.len() > 10 && engine["refusal"].contains("size"));
    assert_no_circle(engine);
    let websocket = imports_of_parts("websocket");
    assert!(websocket["reader"].contains("frame"));
    assert_no_circle(websocket);
}

/// Returns which parts of a folder each part imports. Its parts are its files and folders.
fn imports_of_parts(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (folder, own) = (
        format!("broker/src/{folder}/"),
        format!("crate::{folder}::"),
    );
    let mut imported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, code) in sources(&folder) {
        let path: Vec<_> = file.trim_start_matches(&folder).split('/').collect();
        let part = path[0].trim_end_matches(".rs");
        if part == "mod" {
            continue;
        }
        let up = "super::".repeat(path.iter().filter(|name| **name != "mod.rs").count());
        let code = code.split("#[cfg(test)]").next().unwrap();
        let parts = imports(code).into_iter().filter_map(|import| {
            let rest = import
                .strip_prefix(&own)
                .or_else(|| import.strip_prefix(&up))?;
            Some(rest.split("::").next()?.to_owned())
        });
        imported.entry(part.to_owned()).or_default().extend(parts);
    }
    imported
}

/// Without circles, there is always a part that imports none of the rest.
fn assert_no_circle(mut imported: BTreeMap<String, BTreeSet<String>>) {
    while !imported.is_empty() {
        let rest: BTreeSet<_> = imported.keys().cloned().collect();
        imported.retain(|part, parts| {
            parts
                .iter()
                .any(|other| other != part && rest.contains(other))
        });
        assert!(imported.len() < rest.len(), "a circle: {imported:?}");
    }
}

/// Returns an import that begins with `super::` and leaves the file's folder as a path of the crate.
fn resolve(file: &str, import: &str) -> String {
    let rest = import.trim_start_matches("super::");
    let up = (import.len() - rest.len()) / "super::".len();
    let (_, path) = file.split_once("/src/").unwrap();
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if up > 0 && up == path.split('/').count() {
        format!("crate::{rest}")
    } else {
        import.to_owned()
    }
}

#[test]
fn imports_go_downward_only() {
    for (file, code) in [sources("broker/src"), sources("stomp-codec/src")].concat() {
        let row = MAY_IMPORT.iter().find(|(path, _)| file.starts_with(path));
        let (path, allowed) =
            row.unwrap_or_else(|| panic!("{file} has no list of allowed imports"));
        let code = code.split("#[cfg(test)]").next().unwrap();
        for import in imports(code) {
            let import = resolve(&file, &import);
            let ours = import.strip_prefix("crate::");
            if (ours.is_none() && !BELOW.contains(path))
                || import.starts_with("super::")
                || import.starts_with("self::")
            {
                continue;
            }
            let name = ours.unwrap_or(&import);
            let within = |path: &str| {
                let rest = name.strip_prefix(path);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            assert!(
                allowed.split(' ').any(within),
                "{file} may not import {import}"
            );
        }
    }
}

#[test]
fn restricted_words_occur_in_their_modules_only() {
    for folder in ["broker/src", "stomp-codec/src", "tests/it", "tests/support"] {
        for (file, code) in sources(folder)
            .into_iter()
            .filter(|(file, _)| !file.ends_with("tidy.rs"))
        {
            for (word, may) in WORDS {
                let may = may
                    .split(' ')
                    .any(|may| !may.is_empty() && file.starts_with(may));
                assert!(may || !code.contains(word), "{file} says {word}");
            }
            let below = BELOW.iter().any(|path| file.starts_with(path));
            for word in [
                "tokio",
                "tracing::",
                "std::net",
                "std::fs",
                "std::thread",
                "std::env",
            ] {
                assert!(!below || !code.contains(word), "{file} says {word}");
            }
        }
    }
}

#[test]
fn each_setting_is_documented_in_its_file() {
    let mut documented = false;
    for line in fs::read_to_string(root().join("broker.toml"))
        .unwrap()
        .lines()
    {
        match line.as_bytes().first() {
            None => documented = false,
            Some(b'#') => documented = true,
            Some(b'[') => {}
            // Related settings share a comment.
            Some(_) => assert!(documented, "{line:?} has no comment"),
        }
    }
}
