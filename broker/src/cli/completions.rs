//! `stompd completions SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::{Cli, Failure, print};

const EXAMPLES: &str = "\
Examples:
  stompd completions bash > /etc/bash_completion.d/stompd
  stompd completions zsh > \"${fpath[1]}/_stompd\"
  stompd completions fish > ~/.config/fish/completions/stompd.fish";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The shell that reads the script
    shell: Shell,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "stompd", &mut script);
        print(&script)
    }
}
