//! The command line. Only this module prints, and only it chooses the exit code.

mod bench;
mod check_config;
mod completions;
mod connection;
mod healthcheck;
mod input;
mod man;
mod output;
mod publish;
mod settings;
mod subscribe;

use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::Builder;

use self::settings::Settings;
use crate::client;
use crate::config::REFERENCE;
use crate::error::{Error, Exit};
use crate::{logging, server};

/// A small, fast message broker that speaks STOMP over WebSocket and TCP.
#[derive(Debug, Parser)]
#[command(name = "stompd", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker; this is the default without a command
    Serve(Settings),
    /// Check file, environment and flags, and print the settings in force and where each comes from
    CheckConfig(Settings),
    /// Print broker.toml with every setting, its default and what it means
    DefaultConfig,
    /// Check whether the broker with these settings answers, for Docker's HEALTHCHECK
    Healthcheck(healthcheck::Arguments),
    /// Send messages to a destination of any STOMP broker
    #[command(name = "pub")]
    Publish(publish::Arguments),
    /// Print the messages of destinations of any STOMP broker
    #[command(name = "sub")]
    Subscribe(subscribe::Arguments),
    /// Measure a STOMP broker, and check that no message is lost, duplicated or out of order
    Bench(bench::Arguments),
    /// Print a script that completes commands and options in a shell
    Completions(completions::Arguments),
    /// Print a page of the manual, as roff
    Man(man::Arguments),
}

const EXAMPLES: &str = "\
Examples:
  stompd                                      run with ./broker.toml, or with the defaults
  stompd --websocket 0.0.0.0:15674 --tcp \"\"   WebSocket for every interface, no TCP
  stompd default-config > broker.toml         start a configuration
  stompd check-config -c broker.toml          check it
  STOMPD__LIMITS__BODY=2MiB stompd            set one setting in the environment
  stompd sub '/topic/chat.*'                  print messages as they come
  stompd pub /topic/chat.hello Hello          send one

Exit status: 0 success, 1 failed while running, 2 wrong command line or configuration.";

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Broker(#[from] Error),
    #[error("{0}")]
    Client(#[from] client::Error),
    /// The command did its work and found a fault, which this describes.
    #[error("{0}")]
    Found(String),
    #[error("cannot read standard input: {0}")]
    Input(#[source] io::Error),
    /// An argument that clap cannot check.
    #[error("{0}")]
    Misused(String),
}

impl Failure {
    fn exit_code(&self) -> Exit {
        match self {
            Self::Broker(error) => error.exit_code(),
            Self::Client(client::Error::Address(_) | client::Error::Certificates(_))
            | Self::Misused(_) => Exit::Misused,
            Self::Client(_) | Self::Found(_) | Self::Input(_) => Exit::Failed,
        }
    }
}

/// Runs the command.
pub fn run() -> ExitCode {
    let exit = match Cli::try_parse().and_then(Cli::check) {
        Ok(cli) => cli
            .run()
            .map_or_else(|failure| report(&failure), |()| Exit::Fine),
        Err(answer) => {
            // Help and version are printed here as well. A closed output is not a failure.
            let _ = answer.print();
            if answer.use_stderr() {
                Exit::Misused
            } else {
                Exit::Fine
            }
        }
    };
    exit.into()
}

impl Cli {
    /// Refuses settings of the broker before a command that has no broker and would ignore them.
    fn check(self) -> Result<Self, clap::Error> {
        let has_broker = matches!(
            self.command,
            None | Some(Command::Serve(_) | Command::CheckConfig(_) | Command::Healthcheck(_))
        );
        match self.settings.first() {
            Some(flag) if !has_broker => Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                format!("{flag} is for the broker, not for this command"),
            )),
            _ => Ok(self),
        }
    }

    fn run(self) -> Result<(), Failure> {
        match self.command {
            None => serve(self.settings),
            Some(Command::Serve(settings)) => serve(settings.or(self.settings)),
            Some(Command::CheckConfig(settings)) => check_config::run(settings.or(self.settings)),
            Some(Command::DefaultConfig) => print(REFERENCE.as_bytes()),
            Some(Command::Healthcheck(arguments)) => arguments.run(self.settings),
            Some(Command::Publish(arguments)) => arguments.run(),
            Some(Command::Subscribe(arguments)) => arguments.run(),
            Some(Command::Bench(arguments)) => arguments.run(),
            Some(Command::Completions(arguments)) => arguments.run(),
            Some(Command::Man(arguments)) => arguments.run(),
        }
    }
}

fn serve(settings: Settings) -> Result<(), Failure> {
    let loaded = settings.load()?;
    logging::init(&loaded.config.log);
    Ok(server::serve(loaded)?)
}

/// Runs a client. One thread is enough except for measuring.
fn block_on<T>(
    mut threads: Builder,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = threads.enable_all().build().map_err(Error::Runtime)?;
    let done = runtime.block_on(work);
    // A thread may wait for standard input forever.
    runtime.shutdown_background();
    done
}

/// Writes to standard output. A reader that closes it early, such as `head`, has read enough.
fn print(text: &[u8]) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error).into()),
        _ => Ok(()),
    }
}

/// Writes a line to standard error, which may be closed.
fn tell(line: &str) {
    let _ = writeln!(io::stderr().lock(), "stompd: {line}");
}

/// Reports why the process ends. If standard error is closed, only the exit status does.
fn report(failure: &Failure) -> Exit {
    tell(&failure.to_string());
    failure.exit_code()
}
