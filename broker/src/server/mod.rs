//! Assembles the parts: the only file that knows all of them.

mod accept;
mod files;
mod listen;
mod trim;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stomp_codec::{Limits, Version};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal as UnixSignal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use self::accept::Doorman;
use self::files::Shares;
use self::listen::{ADMIN, Acceptor};
use self::trim::Trim;
use crate::admin::{self, Demo, Desk, Readiness};
use crate::auth::Authenticator;
use crate::config::{Config, Loaded};
use crate::connection::{Metrics, Shared};
use crate::engine::queue;
use crate::engine::session::SessionSettings;
use crate::engine::subscription::{self, Prefetch};
use crate::error::Error;
use crate::hub::{self, Clients, Hub};
use crate::metrics::{Registry, number};
use crate::outbox::{OutboxBounds, Policy, RUN_OVERHEAD};
use crate::queues;
use crate::transport::{TCP, WEBSOCKET, handshake};

/// Runs the broker until a signal stops it.
///
/// # Errors
/// If the broker cannot start.
pub fn serve(loaded: Loaded) -> Result<(), Error> {
    let Loaded { config, origin } = loaded;
    let mut builder = Builder::new_multi_thread();
    if config.runtime.workers > 0 {
        builder.worker_threads(config.runtime.workers);
    }
    let runtime = builder.enable_all().build().map_err(Error::Runtime)?;
    let done = runtime.block_on(async {
        info!("stompd {} with {origin}", env!("CARGO_PKG_VERSION"));
        files::raise();
        let mut signals = Signals::new()?;
        let broker = Broker::start(&config).await?;
        broker.introduce();
        signals.next().await;
        info!("stopping; a second signal ends it at once");
        tokio::select! {
            () = broker.stop() => info!("stopped"),
            () = signals.next() => warn!("stopped at once"),
        }
        Ok(())
    });
    // Tasks that still run have used up their time.
    runtime.shutdown_background();
    done
}

/// A broker that runs in this process, within the runtime that started it.
#[derive(Debug)]
pub struct Broker {
    config: Config,
    websocket: Option<SocketAddr>,
    tcp: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    shared: Arc<Shared>,
    doorman: Arc<Doorman>,
    readiness: watch::Sender<Readiness>,
    accepting: Vec<JoinHandle<()>>,
    answering: Option<JoinHandle<()>>,
    tending: JoinHandle<()>,
}

impl Broker {
    /// Opens the listeners and starts to accept.
    ///
    /// # Errors
    /// If a listener cannot be opened.
    pub async fn start(config: &Config) -> Result<Self, Error> {
        let registry = Arc::new(Registry::new());
        registry.add_process();
        let places = share_files(config, &registry);
        let shared = Arc::new(share(config, &registry));
        let listen = &config.listen;
        let websocket = listen::bind("STOMP over WebSocket", listen.websocket.as_deref()).await?;
        let tcp = listen::bind("STOMP over TCP", listen.tcp.as_deref()).await?;
        let admin = listen::bind("operators", listen.admin.as_deref()).await?;
        let doorman = Arc::new(Doorman::new(
            Arc::clone(&shared),
            config,
            places,
            handshake_settings(config),
        ));
        let demo = config.admin.demo.then(|| Demo {
            port: listen::address(websocket.as_ref()).map(|address| address.port()),
            path: listen.paths.first().cloned().unwrap_or_default(),
        });
        let errors = listen::errors(&registry);
        let (readiness, watched) = watch::channel(Readiness::Starting);
        observe(watched.clone(), &registry);
        let mut broker = Self {
            config: config.clone(),
            websocket: listen::address(websocket.as_ref()),
            tcp: listen::address(tcp.as_ref()),
            admin: listen::address(admin.as_ref()),
            shared: Arc::clone(&shared),
            doorman: Arc::clone(&doorman),
            readiness,
            accepting: Vec::new(),
            tending: tokio::spawn(run_maintenance(Arc::clone(&shared))),
            answering: admin.map(|listener| {
                let settings = admin::AdminSettings {
                    connections: places.admin,
                    timeout: config.admin.timeout,
                };
                let desk = admin::desk(settings, &registry, watched, demo);
                tokio::spawn(answer(Acceptor::new(listener, ADMIN, &errors), desk))
            }),
        };
        broker.accepting.extend(websocket.map(|listener| {
            let doorman = Arc::clone(&doorman);
            let acceptor = Acceptor::new(listener, WEBSOCKET, &errors);
            tokio::spawn(acceptor.serve(move |stream, peer| doorman.websocket(stream, peer)))
        }));
        broker.accepting.extend(tcp.map(|listener| {
            let acceptor = Acceptor::new(listener, TCP, &errors);
            tokio::spawn(acceptor.serve(move |stream, peer| doorman.tcp(stream, peer)))
        }));
        broker.readiness.send_replace(Readiness::Ready);
        Ok(broker)
    }

    /// Returns the address of STOMP over WebSocket.
    pub const fn websocket(&self) -> Option<SocketAddr> {
        self.websocket
    }

    /// Returns the address of STOMP over TCP.
    pub const fn tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Returns the address of the admin port.
    pub const fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Returns the connected clients.
    pub fn clients(&self) -> &Clients {
        self.shared.hub.clients()
    }

    /// Stops: reports itself as not ready, waits `[stop] delay`, closes the listeners, disconnects
    /// the clients over `[stop] spread` and allows `[stop] flush` for the last bytes.
    pub async fn stop(mut self) {
        let stop = &self.config.stop;
        self.readiness.send_replace(Readiness::Stopping);
        sleep(stop.delay).await;
        self.accepting.drain(..).for_each(|task| task.abort());
        info!(clients = self.clients().len(), "disconnecting clients");
        self.doorman.stop_handshakes();
        self.shared.hub.stop(stop.spread).await;
        let left = self.doorman.wait_for_all_to_leave();
        if timeout(stop.flush, left).await.is_err() {
            warn!(
                clients = self.clients().len(),
                "some clients did not read their last bytes"
            );
        }
        self.answering.take().inspect(JoinHandle::abort);
        self.tending.abort();
    }

    /// Logs the addresses, and how to try the broker.
    fn introduce(&self) {
        let path = self.config.listen.paths.first().map_or("", String::as_str);
        if let Some(address) = self.websocket {
            info!("STOMP over WebSocket: ws://{address}{path}");
        }
        if let Some(address) = self.tcp {
            info!("STOMP over TCP: {address}");
        }
        let open = [self.websocket, self.tcp, self.admin];
        if let Some(address) = open
            .iter()
            .flatten()
            .find(|address| !address.ip().is_loopback())
        {
            warn!("anyone who can reach {address} can connect: there is no login yet");
        }
        if let Some(address) = self.admin {
            info!("metrics and health: http://{address}/metrics /healthz /readyz");
            if self.config.admin.demo {
                info!("try it in a browser: http://{address}/demo/");
            }
        }
        if let Some(address) = self.websocket {
            info!(
                "try it in a browser or Node with @stomp/stompjs: \
                 const client = new StompJs.Client({{ brokerURL: 'ws://{address}{path}' }}); \
                 client.onConnect = () => client.subscribe('/topic/hello', m => console.log(m.body)); \
                 client.activate();"
            );
        }
    }
}

/// The two signals that stop the broker.
struct Signals {
    interrupt: UnixSignal,
    terminate: UnixSignal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Error::Signal)?,
            terminate: signal(SignalKind::terminate()).map_err(Error::Signal)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn share(config: &Config, registry: &Registry) -> Shared {
    let (limits, heart_beat, queue) = (&config.limits, &config.heart_beat, &config.queue);
    let policy = Policy {
        bounds: OutboxBounds {
            bytes: limits.outbox_bytes,
            messages: limits.outbox_messages,
            per_run: RUN_OVERHEAD,
        },
        slow_consumer: limits.slow_consumer,
        patience: limits.patience,
    };
    let queues = queues::QueueSettings {
        bounds: queue::Bounds {
            messages: queue.max_length,
            bytes: queue.max_bytes,
        },
        queues: queue.max_queues,
        named: queue.metrics.then_some(queue.metrics_limit),
    };
    Shared {
        hub: Hub::new(
            &format!("{:016x}", accept::random()),
            hub::HubSettings {
                policy,
                pattern_shapes: limits.pattern_shapes,
            },
            queues,
            registry,
        ),
        settings: Arc::new(SessionSettings {
            server: concat!("stompd/", env!("CARGO_PKG_VERSION")).to_owned(),
            send: heart_beat.send,
            want: heart_beat.want,
            ping: heart_beat.ping,
            stall: limits.stall,
            connect_timeout: limits.connect_timeout,
            subscriptions: subscription::Limits {
                count: limits.subscriptions,
                bytes: limits.subscription_bytes,
                shapes: limits.connection_pattern_shapes,
            },
            prefetch: Prefetch {
                messages: queue.prefetch,
                bytes: Some(queue.prefetch_bytes),
            },
        }),
        limits: Limits {
            header_line: limits.header_line,
            headers: limits.headers,
            header_bytes: limits.header_bytes,
            body: limits.body,
        },
        policy,
        authenticator: Authenticator::Open,
        stop_flush: config.stop.flush,
        metrics: Metrics::new(registry),
    }
}

/// Serves the admin port.
async fn answer(mut acceptor: Acceptor, mut desk: Desk) {
    loop {
        let (stream, _) = acceptor.accept().await;
        desk.admit(stream).await;
    }
}

/// Updates the gauge of `/readyz` whenever metrics are read.
fn observe(readiness: watch::Receiver<Readiness>, registry: &Registry) {
    let ready = registry.gauge(
        "stompd_ready",
        "1 while the broker accepts clients, else 0.",
    );
    registry.before_reading(move || {
        ready.set((*readiness.borrow() == Readiness::Ready).into());
    });
}

/// Does the periodic work that no client's frames trigger.
async fn run_maintenance(shared: Arc<Shared>) {
    let mut turns = tokio::time::interval(TEND);
    let mut trim = Trim::new(turns.tick().await.into_std());
    loop {
        let now = turns.tick().await.into_std();
        let shared = Arc::clone(&shared);
        // It visits all queues, which would delay the clients of a worker.
        let tended = spawn_blocking(move || {
            shared.hub.run_maintenance(now);
            trim.run_maintenance(now);
            trim
        });
        match tended.await {
            Ok(same) => trim = same,
            Err(error) => {
                error!(%error, "queue maintenance failed");
                trim = Trim::new(now);
            }
        }
    }
}

fn handshake_settings(config: &Config) -> handshake::HandshakeSettings {
    let mut subprotocols = Version::ALL.map(Version::subprotocol).to_vec();
    subprotocols.reverse();
    let paths = config.listen.paths.clone();
    let page =
        include_str!("page.html").replace("{path}", paths.first().map_or("", String::as_str));
    handshake::HandshakeSettings {
        paths,
        subprotocols,
        page,
    }
}

/// Divides the file descriptors. Warns if clients get fewer than the settings allow.
fn share_files(config: &Config, registry: &Registry) -> Shares {
    let wanted = config.limits.connections;
    let files = files::limit();
    let shares = Shares::of(files, wanted, config.admin.connections);
    if shares.connections < wanted {
        warn!(
            "[limits] connections is {wanted}, but {files} open files leave room for {}: raise the \
             hard limit (LimitNOFILE of systemd, ulimits of Docker, ulimit -n), or lower the setting",
            shares.connections
        );
    }
    registry
        .gauge(
            "stompd_connections_limit",
            "Maximum number of clients: [limits] connections, or fewer if the limit of open files is low.",
        )
        .set(number(shares.connections));
    shares
}

/// Interval of the periodic work.
const TEND: Duration = Duration::from_secs(5);
