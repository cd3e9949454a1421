//! `belfry top`: a gateway's rates, and with an admin key its slowest sessions, its busiest topics and its cluster.

mod admin;
mod cluster;
mod plain;
mod screen;
mod stats;
mod terminal;
mod view;
mod words;

use std::io::IsTerminal;

use anyhow::Context;
use clap::Args;

use super::gateway::{ConnectError, Gateway, GatewayArguments};
use super::tell::print;
use admin::{Admin, Tables};
use stats::{Stats, StatsFeed};
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

/// Shows the rates until the connection is lost or the user quits.
pub(super) async fn watch(arguments: TopArguments) -> anyhow::Result<()> {
    let gateway = arguments.gateway.into_gateway()?;
    let feed = StatsFeed::subscribe(gateway.upgrade().await.map_err(ConnectError::into_error)?);
    let on_screen = !arguments.plain && std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if on_screen { watch_on_screen(gateway, feed).await } else { print_lines(&gateway, feed).await }
}

async fn print_lines(gateway: &Gateway, mut feed: StatsFeed) -> anyhow::Result<()> {
    let (mut admin, mut earlier): (_, Option<Stats>) = (Admin::default(), None);
    loop {
        let stats = feed.next().await?;
        let mut text = plain::line(&stats, earlier.and_then(|earlier| stats.rates_since(&earlier)));
        earlier = Some(stats);
        if let Some(tables) = look(&mut admin, gateway, &stats).await? {
            text.push_str(&plain::tables(&tables));
        }
        if print(text.as_bytes())? {
            return Ok(());
        }
    }
}

async fn watch_on_screen(gateway: Gateway, mut feed: StatsFeed) -> anyhow::Result<()> {
    let mut terminal = Terminal::open().context("can't take the terminal over; --plain prints lines")?;
    let (mut admin, mut view) = (Admin::default(), View::new(gateway.endpoint.to_string()));
    loop {
        terminal.draw(&view).context("can't draw")?;
        tokio::select! {
            stats = feed.next() => {
                let stats = stats?;
                let tables = look(&mut admin, &gateway, &stats).await?;
                view.update(stats, tables);
            }
            input = terminal.next() => match input {
                Some(Input::Key(key)) if !view.press(key) => return Ok(()),
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

/// The data for administrators; `None` without an administrator's credentials.
async fn look(admin: &mut Admin, gateway: &Gateway, stats: &Stats) -> anyhow::Result<Option<Tables>> {
    if gateway.token.is_none() {
        return Ok(None);
    }
    admin.look(gateway, stats.uptime_s).await
}
