//! For operators, on a port of its own:
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | all metrics in the text format of Prometheus |
//! | `/healthz` | 200 while the process answers |
//! | `/readyz` | 200 while the broker accepts clients; otherwise 503 and the reason |
//! | `/demo/` | a page that shows the broker at work, unless `[admin] demo` is off; `/` redirects there |

mod demo;
mod desk;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;

pub use self::demo::Demo;
pub use self::desk::{AdminSettings, Desk};
use crate::metrics::Registry;

/// Whether the broker accepts clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not every listener accepts yet.
    Starting,
    /// Every listener accepts.
    Ready,
    /// The broker is stopping.
    Stopping,
}

#[derive(Clone, Debug)]
struct Sources {
    registry: Arc<Registry>,
    readiness: watch::Receiver<Readiness>,
    /// The last reading. The task that holds the lock does the next one.
    last: Arc<Mutex<Option<Reading>>>,
}

/// The values of all metrics at one time.
#[derive(Debug)]
struct Reading {
    /// When reading them began.
    begun: Instant,
    text: Bytes,
}

/// Returns the service for operators, and for readers of the demo page if there is one.
pub fn desk(
    settings: AdminSettings,
    registry: &Arc<Registry>,
    readiness: watch::Receiver<Readiness>,
    demo: Option<Demo>,
) -> Desk {
    let app = demo
        .map_or_else(Router::new, Demo::routes)
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Sources {
            registry: Arc::clone(registry),
            readiness,
            last: Arc::default(),
        });
    Desk::new(app, settings, registry)
}

/// Asks very many queues how much they hold, so a thread that serves clients must not do it. One
/// reading at a time, or readers would take one thread each; a reader that has waited for another
/// one gets its result, if that reading began after the request. So each waits for at most two.
async fn metrics(State(sources): State<Sources>) -> Result<impl IntoResponse, StatusCode> {
    let Sources { registry, last, .. } = sources;
    let asked = Instant::now();
    let mut last = last.lock_owned().await;
    let text = match &*last {
        Some(reading) if reading.begun >= asked => reading.text.clone(),
        _ => {
            let read = spawn_blocking(move || {
                let begun = Instant::now();
                let text = Bytes::from(registry.text());
                let reading = last.insert(Reading { begun, text });
                // The lock is released here, even if the reader has disconnected meanwhile.
                reading.text.clone()
            });
            // Fails only by a panic.
            let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
            read.await.map_err(failed)?
        }
    };
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text))
}

async fn ready(State(sources): State<Sources>) -> impl IntoResponse {
    match *sources.readiness.borrow() {
        Readiness::Starting => (
            StatusCode::SERVICE_UNAVAILABLE,
            "starting: not every listener accepts yet\n",
        ),
        Readiness::Ready => (StatusCode::OK, "ok\n"),
        Readiness::Stopping => (
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping: clients are being sent away\n",
        ),
    }
}
