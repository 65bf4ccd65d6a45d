//! For operators, on a port of its own:
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | all metrics in the text format of Prometheus |
//! | `/healthz` | 200 while the process answers |
//! | `/readyz` | 200 while clients are welcome; 503 and a line of reason otherwise |
//! | `/demo/` | a page that shows the broker at work, unless `[admin] demo` is off; `/` leads there |

mod demo;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use self::demo::Demo;
use crate::metrics::Registry;

/// Whether clients are welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not every listener accepts yet.
    Starting,
    /// They are.
    Ready,
    /// The broker is on its way out.
    Stopping,
}

#[derive(Clone, Debug)]
struct Sources {
    registry: Arc<Registry>,
    readiness: watch::Receiver<Readiness>,
}

/// Answers operators, and readers of the demo page if there is one, until the listener fails.
pub async fn serve(
    listener: TcpListener,
    registry: Arc<Registry>,
    readiness: watch::Receiver<Readiness>,
    demo: Option<Demo>,
) {
    let app = demo
        .map_or_else(Router::new, Demo::routes)
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Sources {
            registry,
            readiness,
        });
    if let Err(error) = axum::serve(listener, app).await {
        tracing::error!(%error, "the admin port does not answer any more");
    }
}

async fn metrics(State(sources): State<Sources>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        sources.registry.text(),
    )
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
