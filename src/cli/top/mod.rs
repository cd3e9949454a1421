//! `belfry top`: a gateway's rates, and with an admin key its slowest sessions, its busiest topics and its cluster.

mod admin;
mod cluster;
mod plain;
mod screen;
mod source;
mod stats;
mod terminal;
mod view;
mod words;

use std::io::IsTerminal;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::Receiver;

use super::gateway::GatewayArguments;
use super::stdio::{print, report};
use source::Update;
use stats::Stats;
use terminal::{Input, Terminal};
use view::View;

/// `belfry top`.
#[derive(Debug, Args)]
pub(super) struct TopArguments {
    #[command(flatten)]
    gateway: GatewayArguments,
    /// Print a line each second, as without a terminal
    #[arg(long)]
    plain: bool,
}

/// Shows the rates until the user quits. After a lost connection it reconnects.
pub(super) async fn watch(arguments: TopArguments) -> anyhow::Result<()> {
    let gateway = arguments.gateway.into_gateway()?;
    let url = gateway.endpoint.to_string();
    let updates = source::begin(gateway).await?;
    let on_screen = !arguments.plain && std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if on_screen { watch_on_screen(url, updates).await } else { print_lines(updates).await }
}

async fn print_lines(mut updates: Receiver<Update>) -> anyhow::Result<()> {
    let mut earlier: Option<Stats> = None;
    while let Some(update) = updates.recv().await {
        let (stats, tables) = match update {
            Update::Seen(stats, tables) => (stats, tables),
            Update::Lost(why) => {
                report(format_args!("{why}; reconnecting"));
                continue;
            }
            Update::Refused(error) => return Err(error),
        };
        let mut text = plain::line(&stats, earlier.and_then(|earlier| stats.rates_since(&earlier)));
        earlier = Some(stats);
        match tables {
            Ok(tables) => text.push_str(&tables.map(|tables| plain::tables(&tables)).unwrap_or_default()),
            Err(why) => report(why),
        }
        if print(text.as_bytes())? {
            return Ok(());
        }
    }
    Ok(())
}

async fn watch_on_screen(url: String, mut updates: Receiver<Update>) -> anyhow::Result<()> {
    // Without a handler these signals would end the process in the alternate screen.
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut terminal = Terminal::open().context("can't take the terminal over; --plain prints lines")?;
    let mut view = View::new(url);
    loop {
        terminal.draw(&view).context("can't draw")?;
        tokio::select! {
            update = updates.recv() => match update {
                Some(Update::Seen(stats, Ok(tables))) => view.update(stats, tables),
                Some(Update::Seen(stats, Err(why))) => view.update_without_tables(stats, why),
                Some(Update::Lost(why)) => view.lose(why),
                Some(Update::Refused(error)) => return Err(error),
                None => return Ok(()),
            },
            input = terminal.next() => match input {
                Some(Input::Key(key)) if !view.press(key) => return Ok(()),
                Some(_) => {}
                None => return Ok(()),
            },
            _ = terminate.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
        }
    }
}
