//! The stompd program.

use std::process::ExitCode;

fn main() -> ExitCode {
    stompd::cli::run()
}
