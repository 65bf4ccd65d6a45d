//! A page that demonstrates STOMP over WebSocket, in the reader's own tabs.
//!
//! All of it is in the binary. It contacts only this broker; its `Content-Security-Policy` enforces
//! that, except for a WebSocket to the same port of other hosts.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use serde_json::json;

/// What the page needs to know about the broker.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The port of STOMP over WebSocket. `None`: off.
    pub port: Option<u16>,
    /// The path at which a WebSocket is opened.
    pub path: String,
}

impl Demo {
    /// Returns the routes of the page.
    pub(super) fn routes<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let settings = self.settings();
        let mut router = Router::new()
            .route("/", get(async || Redirect::temporary("/demo/")))
            .route("/demo", get(async || Redirect::temporary("/demo/")))
            .route(
                "/demo/settings.json",
                get(async move || answer(JSON, ASK_AGAIN, settings)),
            );
        let policy = self.policy();
        for (name, content, text) in FILES {
            let caching = if name.starts_with("vendor/") {
                KEEP
            } else {
                ASK_AGAIN
            };
            let policy = policy.clone();
            let page = async move || {
                let policy = [(CONTENT_SECURITY_POLICY, policy)];
                (policy, answer(content, caching, *text))
            };
            router = router.route(&format!("/demo/{name}"), get(page));
        }
        router
    }

    fn settings(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        json!({ "port": self.port, "path": self.path, "version": version }).to_string()
    }

    /// The host is the one that the reader used to reach the page, which may be any.
    fn policy(&self) -> String {
        let sockets = self
            .port
            .map_or_else(String::new, |port| format!(" ws://*:{port} wss://*:{port}"));
        format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        )
    }
}

fn answer<T: IntoResponse>(
    content: &'static str,
    caching: &'static str,
    body: T,
) -> impl IntoResponse + use<T> {
    let headers = [
        (CONTENT_TYPE, content),
        (CACHE_CONTROL, caching),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, body)
}

const CSS: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// Another release of the broker may have a different file with this name.
const ASK_AGAIN: &str = "no-cache";
/// The name contains the version.
const KEEP: &str = "public, max-age=31536000, immutable";

/// Each file: its name below `/demo/`, its type, and its text.
const FILES: &[(&str, &str, &str)] = &[
    ("", HTML, include_str!("index.html")),
    ("chat.js", JS, include_str!("chat.js")),
    ("clock.js", JS, include_str!("clock.js")),
    ("connection.js", JS, include_str!("connection.js")),
    ("demo.css", CSS, include_str!("demo.css")),
    ("demo.js", JS, include_str!("demo.js")),
    ("exchange.js", JS, include_str!("exchange.js")),
    ("frames.js", JS, include_str!("frames.js")),
    ("icon.svg", SVG, include_str!("icon.svg")),
    ("jobs.js", JS, include_str!("jobs.js")),
    ("prices.js", JS, include_str!("prices.js")),
    (
        "vendor/stompjs-7.5.0.umd.min.js",
        JS,
        include_str!("vendor/stompjs-7.5.0.umd.min.js"),
    ),
    (
        "vendor/stompjs-7.5.0.LICENSE.txt",
        TEXT,
        include_str!("vendor/stompjs-7.5.0.LICENSE.txt"),
    ),
    ("wire.js", JS, include_str!("wire.js")),
];
