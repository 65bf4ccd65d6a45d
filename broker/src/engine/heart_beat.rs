//! Heart-beats, mapped onto WebSocket Ping and Pong.
//!
//! A browser throttles the timers of a background tab, so its heart-beats stop although it is
//! alive; but it answers Pings without the page being involved. So when the client's heart-beat is
//! overdue the broker sends a Ping, and any byte counts as a sign of life, even a Pong. In the
//! other direction the page sees only messages: there the broker sends what STOMP requires, an EOL.
//!
//! Intervals are those of STOMP 1.2, "Heart-beating". All deadlines are computed from the times of
//! the last events, so that traffic needs no timer: the caller asks [`HeartBeat::next_timeout`]
//! again when one has passed.

use std::time::{Duration, Instant};

/// The negotiated intervals, and when the client was last heard.
#[derive(Debug)]
pub struct HeartBeat {
    /// Client → server; zero if none was negotiated.
    inbound: Duration,
    /// Server → client; zero if none was negotiated.
    outbound: Duration,
    /// Duration of silence, in either direction, after which to ping; zero if never.
    ping: Duration,
    /// Maximum time for which slow progress of unsent bytes may postpone a cut.
    stall: Duration,
    /// Whether the transport has Ping and Pong.
    can_ping: bool,
    /// When the client was last heard; not updated while it is not read.
    last_read: Instant,
    last_ping: Option<Instant>,
    reading: bool,
}

/// The intervals of one side's `heart-beat` header, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intervals {
    /// How often it can send; zero if not at all.
    pub send: u32,
    /// How often it wants to receive; zero if not at all.
    pub want: u32,
}

/// The current state of the outgoing side of a connection.
#[derive(Clone, Copy, Debug)]
pub struct OutboundState {
    /// When data (a STOMP frame or an EOL, not a Ping) was last written.
    pub last_data: Instant,
    /// When the peer's kernel last took a byte of any kind.
    pub last_write: Instant,
    /// Whether anything can be written. Not after an error, when only reading until the end is
    /// left.
    pub open: bool,
    /// Whether bytes are queued.
    pub blocked: bool,
    /// If RECEIPTs or other replies are among them, since when they have made no progress.
    pub replies_stuck: Option<Instant>,
    /// When a Ping queued behind unsent bytes last saw progress of these bytes.
    pub ping_progress: Option<Instant>,
}

/// An action that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The client was not heard for this long: disconnect it.
    Cut(Duration),
    /// Send an EOL.
    Beat,
    /// Send a Ping.
    Ping,
}

impl HeartBeat {
    /// Before CONNECT no interval is negotiated and nothing but `ping` is due.
    pub fn new(ping: Duration, stall: Duration, can_ping: bool, now: Instant) -> Self {
        Self {
            inbound: Duration::ZERO,
            outbound: Duration::ZERO,
            ping: if can_ping { ping } else { Duration::ZERO },
            stall,
            can_ping,
            last_read: now,
            last_ping: None,
            reading: true,
        }
    }

    /// Applies the intervals that both sides sent in CONNECT and CONNECTED. Each is the larger of
    /// what one side can do and the other wants, and none if either is zero.
    pub fn agree(&mut self, client: Intervals, server: Intervals, now: Instant) {
        self.inbound = interval(client.send, server.want);
        self.outbound = interval(server.send, client.want);
        self.last_read = self.last_read.max(now);
    }

    /// Returns when the client was last heard.
    pub fn last_read(&self) -> Instant {
        self.last_read
    }

    /// Records that something was received, including a part of a frame or a Pong.
    pub fn on_read(&mut self, now: Instant) {
        self.last_read = now;
    }

    /// Records that reading from the client stops or resumes. In between its silence is not
    /// counted.
    pub fn on_reading(&mut self, reading: bool, now: Instant) {
        if reading && !self.reading {
            self.last_read = now;
        }
        self.reading = reading;
    }

    /// Returns what is due now; a [`Due::Cut`] is always alone.
    pub fn on_timeout(&mut self, now: Instant, outbound: &OutboundState) -> Vec<Due> {
        if self.would_cut(now, outbound) {
            return vec![Due::Cut(now - self.last_read)];
        }
        let mut due = Vec::new();
        if self.ping_at(outbound).is_some_and(|at| at <= now) {
            self.last_ping = Some(now);
            due.push(Due::Ping);
        }
        if self.beat_at(outbound).is_some_and(|at| at <= now) {
            due.push(Due::Beat);
        }
        due
    }

    /// Whether the client is considered dead.
    pub fn would_cut(&self, now: Instant, outbound: &OutboundState) -> bool {
        self.cut_at(outbound).is_some_and(|at| at <= now)
    }

    /// Returns when to call [`HeartBeat::on_timeout`] next, if nothing happens until then.
    pub fn next_timeout(&self, outbound: &OutboundState) -> Option<Instant> {
        [
            self.cut_at(outbound),
            self.ping_at(outbound),
            self.beat_at(outbound),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Returns the silence after which the client is considered dead: 2.5 intervals; without an
    /// interval, 2.5 times `ping`.
    fn patience(&self) -> Duration {
        let interval = if self.inbound.is_zero() {
            self.ping
        } else {
            self.inbound
        };
        interval * 5 / 2
    }

    fn cut_at(&self, outbound: &OutboundState) -> Option<Instant> {
        let patience = self.patience();
        if patience.is_zero() || !self.reading {
            return None;
        }
        let at = self.last_read + patience;
        // While a Ping is queued behind bytes that make progress, the connection is slow and not
        // dead.
        let postponed = outbound
            .ping_progress
            .map_or(at, |progress| progress + patience);
        Some(at.max(postponed.min(at + self.stall)))
    }

    fn ping_at(&self, outbound: &OutboundState) -> Option<Instant> {
        if !outbound.open {
            return None;
        }
        let overdue = (self.can_ping && !self.inbound.is_zero() && self.reading)
            .then(|| self.last_read + self.inbound * 3 / 2)
            .filter(|&at| self.last_ping.is_none_or(|ping| ping < at));
        let idle = (!self.ping.is_zero()).then(|| {
            let silent = outbound.last_write.min(self.last_read) + self.ping;
            self.last_ping
                .map_or(silent, |ping| silent.max(ping + self.ping))
        });
        overdue.into_iter().chain(idle).min()
    }

    fn beat_at(&self, outbound: &OutboundState) -> Option<Instant> {
        // Queued bytes are data; an EOL after them would add nothing.
        (!self.outbound.is_zero() && outbound.open && !outbound.blocked)
            .then(|| outbound.last_data + self.outbound)
    }
}

impl Intervals {
    /// Returns what to send in CONNECTED to a client that sent `client`, where `self` is from the
    /// settings. If a client offers to send more often than the broker wants, the broker accepts
    /// this down to [`FASTEST`]: it costs little, and a dead client is detected sooner.
    #[must_use]
    pub fn answer(self, client: Self) -> Self {
        let offered = if client.send == 0 {
            u32::MAX
        } else {
            client.send.max(FASTEST)
        };
        Self {
            want: self.want.min(offered),
            ..self
        }
    }

    /// Parses the value of a `heart-beat` header: two whole numbers with a comma between them.
    pub fn parse(text: &str) -> Option<Self> {
        let (send, want) = text.split_once(',')?;
        Some(Self {
            send: milliseconds(send)?,
            want: milliseconds(want)?,
        })
    }
}

/// Minimum interval that a client can negotiate, in milliseconds.
pub const FASTEST: u32 = 1000;

fn milliseconds(text: &str) -> Option<u32> {
    // `parse` alone would accept a sign.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

fn interval(can: u32, wants: u32) -> Duration {
    if can == 0 || wants == 0 {
        return Duration::ZERO;
    }
    Duration::from_millis(can.max(wants).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A connection on a virtual clock: `run` advances the time and records what became due.
    struct World {
        start: Instant,
        now: Instant,
        beat: HeartBeat,
        outbound: OutboundState,
        /// How long the client takes to answer a Ping; `None` if it does not.
        pong: Option<Duration>,
        log: Vec<(f32, Due)>,
    }

    impl World {
        fn new(client: (u32, u32), ping: u64, can_ping: bool) -> Self {
            let now = start();
            let mut beat = HeartBeat::new(
                SECOND * u32::try_from(ping).expect("small"),
                SECOND * 30,
                can_ping,
                now,
            );
            let server = Intervals {
                send: 10_000,
                want: 10_000,
            };
            beat.agree(
                Intervals {
                    send: client.0,
                    want: client.1,
                },
                server,
                now,
            );
            let outbound = OutboundState {
                last_data: now,
                last_write: now,
                open: true,
                blocked: false,
                replies_stuck: None,
                ping_progress: None,
            };
            Self {
                start: now,
                now,
                beat,
                outbound,
                pong: None,
                log: Vec::new(),
            }
        }

        /// Advances the time by `seconds` or until the client is cut, whichever comes first.
        fn run(&mut self, seconds: u64) -> &[(f32, Due)] {
            let end = self.now + SECOND * u32::try_from(seconds).expect("small");
            let mut pong_at = None;
            loop {
                let timeout = self.beat.next_timeout(&self.outbound);
                let Some(next) = timeout
                    .into_iter()
                    .chain(pong_at)
                    .min()
                    .filter(|&at| at <= end)
                else {
                    self.now = end;
                    return &self.log;
                };
                self.now = self.now.max(next);
                if pong_at == Some(self.now) {
                    self.beat.on_read(self.now);
                    pong_at = None;
                }
                for due in self.beat.on_timeout(self.now, &self.outbound) {
                    self.log.push(((self.now - self.start).as_secs_f32(), due));
                    match due {
                        Due::Cut(_) => return &self.log,
                        Due::Beat => self.outbound.last_data = self.now,
                        Due::Ping => pong_at = self.pong.map(|delay| self.now + delay),
                    }
                    if !self.outbound.blocked {
                        self.outbound.last_write = self.now;
                    }
                }
            }
        }

        fn dues(&self) -> Vec<Due> {
            self.log.iter().map(|(_, due)| *due).collect()
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs a start time")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn an_interval_is_the_larger_and_none_if_either_side_says_zero() {
        assert_eq!(interval(0, 10), Duration::ZERO);
        assert_eq!(interval(10, 0), Duration::ZERO);
        assert_eq!(interval(10, 20), Duration::from_millis(20));
        assert_eq!(interval(30, 20), Duration::from_millis(30));
    }

    #[test]
    fn a_client_that_offers_to_send_more_often_is_asked_to_down_to_a_second() {
        let wanted = |own, offered| {
            let own = Intervals { send: 7, want: own };
            let client = Intervals {
                send: offered,
                want: 3,
            };
            let answer = own.answer(client);
            assert_eq!(answer.send, 7);
            answer.want
        };
        assert_eq!(wanted(10_000, 1000), 1000);
        assert_eq!(wanted(10_000, 4000), 4000);
        assert_eq!(wanted(10_000, 1), 1000);
        assert_eq!(wanted(10_000, 10_000), 10_000);
        assert_eq!(wanted(10_000, u32::MAX), 10_000);
        // An offer of nothing, and a wanted interval below one second, are not changed.
        assert_eq!(wanted(10_000, 0), 10_000);
        assert_eq!(wanted(500, 1), 500);
        assert_eq!(wanted(0, 1), 0);
    }

    #[test]
    fn only_two_whole_numbers_are_a_heart_beat() {
        assert_eq!(
            Intervals::parse("0,4294967295"),
            Some(Intervals {
                send: 0,
                want: u32::MAX
            })
        );
        for bad in [
            "",
            "1",
            "a,b",
            "1,",
            ",1",
            "-1,0",
            "+1,0",
            " 1,0",
            "1, 0",
            "1,2,3",
            "4294967296,0",
            "1.5,0",
        ] {
            assert_eq!(Intervals::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_throttled_tab_that_answers_pings_stays() {
        let mut world = World::new((10_000, 0), 25, true);
        world.pong = Some(Duration::from_millis(20));
        let log = world.run(100);
        assert!(log.iter().all(|(_, due)| *due == Due::Ping), "{log:?}");
        assert!(log.len() >= 5, "{log:?}");
    }

    #[test]
    fn a_dead_client_is_pinged_at_one_and_a_half_and_cut_at_two_and_a_half_intervals() {
        let mut world = World::new((10_000, 0), 25, true);
        assert_eq!(
            world.run(100),
            [(15.0, Due::Ping), (25.0, Due::Cut(SECOND * 25))]
        );
    }

    #[test]
    fn over_tcp_there_is_no_ping_and_the_cut_is_the_same() {
        let mut world = World::new((10_000, 0), 25, false);
        assert_eq!(world.run(100), [(25.0, Due::Cut(SECOND * 25))]);
    }

    #[test]
    fn without_heart_beats_a_websocket_client_is_pinged_all_the_same() {
        let mut world = World::new((0, 0), 25, true);
        assert_eq!(
            world.run(100),
            [
                (25.0, Due::Ping),
                (50.0, Due::Ping),
                (62.5, Due::Cut(SECOND * 125 / 2))
            ]
        );
        let mut world = World::new((0, 0), 25, true);
        world.pong = Some(SECOND);
        world.run(300);
        assert!(world.dues().iter().all(|due| *due == Due::Ping));
        let mut off = World::new((0, 0), 0, true);
        assert_eq!(off.run(10_000), []);
    }

    #[test]
    fn a_client_to_whom_nothing_is_written_is_pinged_however_much_it_sends() {
        let mut world = World::new((10_000, 0), 25, true);
        for _ in 0..60 {
            world.run(1);
            world.beat.on_read(world.now);
        }
        assert_eq!(world.log, [(25.0, Due::Ping), (50.0, Due::Ping)]);
    }

    #[test]
    fn an_eol_follows_each_idle_interval_and_a_ping_never_replaces_it() {
        let mut world = World::new((0, 10_000), 4, true);
        world.pong = Some(Duration::from_millis(1));
        world.run(40);
        let beats: Vec<_> = world
            .log
            .iter()
            .filter(|(_, due)| *due == Due::Beat)
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(beats, [10.0, 20.0, 30.0, 40.0]);
    }

    #[test]
    fn data_postpones_the_eol() {
        let mut world = World::new((0, 10_000), 0, true);
        world.run(9);
        world.outbound.last_data = world.now;
        world.run(11);
        assert_eq!(world.log, [(19.0, Due::Beat)]);
    }

    #[test]
    fn nothing_is_asked_of_a_client_that_is_not_read() {
        let mut world = World::new((10_000, 0), 0, true);
        world.run(10);
        world.beat.on_reading(false, world.now);
        assert_eq!(world.run(1000), []);
        world.beat.on_reading(true, world.now);
        assert_eq!(
            world.run(1000),
            [(1025.0, Due::Ping), (1035.0, Due::Cut(SECOND * 25))]
        );
    }

    #[test]
    fn a_ping_behind_bytes_that_move_postpones_the_cut_by_at_most_stall() {
        let mut world = World::new((10_000, 0), 0, true);
        world.outbound.blocked = true;
        for _ in 0..80 {
            world.run(1);
            if world.dues().contains(&Due::Ping) {
                world.outbound.ping_progress = Some(world.now);
            }
            if world
                .dues()
                .last()
                .is_some_and(|due| matches!(due, Due::Cut(_)))
            {
                break;
            }
        }
        assert_eq!(
            world.log,
            [(15.0, Due::Ping), (55.0, Due::Cut(SECOND * 55))]
        );
    }

    #[test]
    fn bytes_that_the_kernel_takes_are_no_life_of_the_client() {
        let mut world = World::new((10_000, 0), 25, true);
        for _ in 0..30 {
            world.run(1);
            world.outbound.last_write = world.now;
            world.outbound.last_data = world.now;
            if world
                .dues()
                .last()
                .is_some_and(|due| matches!(due, Due::Cut(_)))
            {
                break;
            }
        }
        assert_eq!(
            world.log,
            [(15.0, Due::Ping), (25.0, Due::Cut(SECOND * 25))]
        );
    }
}
