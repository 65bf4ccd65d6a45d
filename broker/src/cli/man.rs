//! `stompd man [COMMAND]`.

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::{Cli, Failure, print};
use crate::error::Error;

const EXAMPLES: &str = "\
Examples:
  stompd man | man -l -
  stompd man pub > /usr/local/share/man/man1/stompd-pub.1";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The command whose page to print, such as pub [default: the page of stompd, which names all]
    command: Option<String>,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut whole = Cli::command();
        whole.build();
        let page = match &self.command {
            None => whole,
            Some(name) => whole
                .find_subcommand(name)
                .cloned()
                .ok_or_else(|| Failure::Misused(format!("there is no command {name:?}")))?,
        };
        // A page is called stompd-pub, a command "stompd pub".
        let title = page.get_display_name().unwrap_or("stompd").to_owned();
        let mut text = Vec::new();
        let written = Man::new(page).title(title).render(&mut text);
        written.map_err(Error::Output)?;
        print(&text)
    }
}
