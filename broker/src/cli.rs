//! The command line. Only this module prints, and only it decides what the process leaves with.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Flag, Loaded, REFERENCE, Source};
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

#[derive(Clone, Copy, Debug, Default, Subcommand)]
enum Command {
    /// Run the broker; this is what happens without a command
    #[default]
    Serve,
    /// Check file, environment and flags, and print the settings in force
    CheckConfig,
    /// Print broker.toml with every setting, its default and what it means
    DefaultConfig,
}

#[derive(Args, Debug)]
struct Settings {
    /// Read settings from FILE [default: ./broker.toml, else /etc/stompd/broker.toml]
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Listen for STOMP over WebSocket on host:port; "" turns it off
    #[arg(long, value_name = "ADDR", global = true)]
    websocket: Option<String>,
    /// Listen for STOMP over TCP on host:port; "" turns it off
    #[arg(long, value_name = "ADDR", global = true)]
    tcp: Option<String>,
    /// Listen for metrics and health on host:port; "" turns it off
    #[arg(long, value_name = "ADDR", global = true)]
    admin: Option<String>,
    /// Log this and more: error, warn, info, debug, trace, or by module: info,stompd=debug
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  stompd                                      run with ./broker.toml, or with the defaults
  stompd --websocket 0.0.0.0:15674 --tcp \"\"   WebSocket for every interface, no TCP
  stompd default-config > broker.toml         start a configuration
  stompd check-config -c broker.toml          check it
  STOMPD__LIMITS__BODY=16MiB stompd           one setting from the environment

Exit status: 0 fine, 1 failed while running, 2 wrong command line or configuration.";

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => cli
            .run()
            .map_or_else(|error| report(&error), |()| Exit::Fine),
        Err(answer) => {
            // Help and version come this way as well. That nobody reads them is no failure.
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
    fn run(self) -> Result<(), Error> {
        match self.command.unwrap_or_default() {
            Command::Serve => {
                let loaded = self.settings.load()?;
                logging::init(&loaded.config.log);
                server::serve(loaded)
            }
            Command::CheckConfig => {
                let Loaded { config, origin } = self.settings.load()?;
                print(&format!("# ok: {origin}\n\n{config}"))
            }
            Command::DefaultConfig => print(REFERENCE),
        }
    }
}

impl Settings {
    fn load(self) -> Result<Loaded, Error> {
        let flags = [
            ("--websocket", "listen.websocket", self.websocket),
            ("--tcp", "listen.tcp", self.tcp),
            ("--admin", "listen.admin", self.admin),
            ("--log-level", "log.level", self.log_level),
        ];
        let source = Source {
            file: self.config,
            environment: env::vars_os().collect(),
            flags: flags
                .into_iter()
                .filter_map(|(name, key, value)| value.map(|value| Flag { name, key, value }))
                .collect(),
        };
        Ok(Config::load(source)?)
    }
}

/// Writes to standard output. Whoever closes it early, such as `head`, has read enough.
fn print(text: &str) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// Tells why the process ends. Should standard error be closed, the exit status has to do.
fn report(error: &Error) -> Exit {
    let _ = writeln!(io::stderr().lock(), "stompd: {error}");
    error.exit_code()
}
