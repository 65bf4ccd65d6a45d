//! The connections of the admin port: their number and duration are limited.
//!
//! A connection must send a complete request within the timeout, also after an earlier answer
//! (hyper's `header_read_timeout` covers both), and must read its answer within twice that. When
//! all places are taken, the connection that has been silent longest is closed for the next one: so
//! `/healthz` answers however many connections are idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::metrics::{Counter, Gauge, Registry};

/// The limits of the admin port.
#[derive(Clone, Copy, Debug)]
pub struct AdminSettings {
    /// Connections at the same time.
    pub connections: usize,
    /// Time limit of a request, and of a connection without one.
    pub timeout: Duration,
}

/// Serves the connections of the admin port.
#[derive(Debug)]
pub struct Desk {
    app: TowerToHyperService<Router>,
    settings: AdminSettings,
    guests: Vec<Guest>,
    open: Gauge,
    refused: Counter,
}

/// One connection.
#[derive(Debug)]
struct Guest {
    task: JoinHandle<()>,
    activity: Arc<Activity>,
}

/// When a connection was last active: it connected, sent a whole request, or was answered.
#[derive(Debug)]
struct Activity {
    begin: Instant,
    /// In milliseconds from `begin`; [`ANSWERING`] while a request is being answered.
    last: AtomicU64,
}

/// Counts a connection for as long as this exists.
struct Counted(Gauge);

impl Desk {
    pub(super) fn new(app: Router, settings: AdminSettings, registry: &Registry) -> Self {
        Self {
            app: TowerToHyperService::new(app),
            settings,
            guests: Vec::new(),
            open: registry.gauge(
                "stompd_admin_connections",
                "Connections to the admin port now.",
            ),
            refused: registry.counter(
                "stompd_admin_refused_total",
                "Connections to the admin port that were closed because there were too many.",
            ),
        }
    }

    /// Serves one more connection, if necessary in place of the one that has been silent longest.
    pub async fn admit(&mut self, stream: TcpStream) {
        self.guests.retain(|guest| !guest.task.is_finished());
        if self.guests.len() >= self.settings.connections {
            self.refused.inc();
            let Some(guest) = self.take_most_silent() else {
                // All are being answered.
                return refuse(&stream);
            };
            guest.task.abort();
            // Its descriptor is free when its task has ended.
            let _ = guest.task.await;
        }
        let activity = Arc::new(Activity::new());
        let serve = serve(
            stream,
            self.app.clone(),
            Arc::clone(&activity),
            self.settings.timeout,
        );
        let counted = Counted::new(&self.open);
        let task = tokio::spawn(async move {
            serve.await;
            drop(counted);
        });
        self.guests.push(Guest { task, activity });
    }

    fn take_most_silent(&mut self) -> Option<Guest> {
        let since = |guest: &Guest| guest.activity.last();
        let silent = self.guests.iter().enumerate();
        let silent = silent.filter_map(|(place, guest)| Some((since(guest)?, place)));
        let (_, place) = silent.min()?;
        Some(self.guests.swap_remove(place))
    }
}

async fn serve(
    stream: TcpStream,
    app: TowerToHyperService<Router>,
    activity: Arc<Activity>,
    timeout: Duration,
) {
    let answered = Arc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        answered.set(ANSWERING);
        let (answer, answered) = (app.call(request), Arc::clone(&answered));
        async move {
            let answer = answer.await;
            answered.touch();
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(MAX_REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Errors of the client are ignored.
        _ = connection => {}
        () = activity.none_for(2 * timeout) => {}
    }
}

fn refuse(stream: &TcpStream) {
    let answer =
        b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let _ = stream.try_write(answer);
}

impl Activity {
    fn new() -> Self {
        Self {
            begin: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn touch(&self) {
        let millis = self.begin.elapsed().as_millis();
        self.set(u64::try_from(millis).unwrap_or(u64::MAX - 1));
    }

    fn set(&self, last: u64) {
        self.last.store(last, Ordering::Relaxed);
    }

    /// Returns when it was; `None` while a request is being answered.
    fn last(&self) -> Option<Instant> {
        let last = self.last.load(Ordering::Relaxed);
        (last != ANSWERING).then(|| self.begin + Duration::from_millis(last))
    }

    /// Waits until there was no activity for this long.
    async fn none_for(&self, time: Duration) {
        loop {
            let now = Instant::now();
            let end = self.last().unwrap_or(now) + time;
            if end <= now {
                return;
            }
            sleep_until(end).await;
        }
    }
}

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

const ANSWERING: u64 = u64::MAX;

/// Maximum size of a request head.
const MAX_REQUEST: usize = 16 * 1024;
