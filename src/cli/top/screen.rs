//! The view on a terminal of any size.

use ratatui::Frame;
use ratatui::layout::Constraint::{Fill, Length, Max, Min};
use ratatui::layout::{Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table as TableWidget};

use super::cluster::{Cluster, Stream};
use super::view::{Table, View};
use super::words::{bytes, printable, rate};

/// Below this height, in rows, the charts are hidden in favour of the tables.
const CHART_HEIGHT_MIN: u16 = 16;
/// Outboxes above these sizes, in bytes, are yellow and red.
const OUTBOX_YELLOW: u64 = 64 << 10;
const OUTBOX_RED: u64 = 512 << 10;
/// The largest number of streams that are shown. Streams that are not followed come first.
const STREAMS_MAX: usize = 4;
/// Streams above this lag, in messages, are yellow.
const LAG_YELLOW: u64 = 1_000;

/// Draws `view` over the whole frame.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    let charts = if area.height >= CHART_HEIGHT_MIN { 4 } else { 0 };
    let cluster = view.tables.as_ref().and_then(|tables| tables.cluster.as_ref());
    let streams = cluster.map_or(0, |cluster| 1 + cluster.streams.len().min(STREAMS_MAX) as u16);
    let [title, totals, streams, chart, tables, keys] =
        Layout::vertical([Length(1), Length(2), Length(streams), Length(charts), Min(0), Length(1)]).areas(area);
    draw_title(frame, title, view);
    draw_totals(frame, totals, view);
    cluster.into_iter().for_each(|cluster| draw_cluster(frame, streams, cluster));
    draw_charts(frame, chart, view);
    draw_tables(frame, tables, view);
    draw_keys(frame, keys, view);
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let up = view.stats.map_or_else(|| "connecting".to_owned(), |stats| format!("up {}", duration(stats.uptime_s)));
    let state = match &view.lost {
        Some(why) => format!("reconnecting: {}", printable(why)).red(),
        None => Span::raw(up),
    };
    let mut words = vec!["belfry ".bold().cyan(), Span::raw(view.url.clone()), Span::raw("  "), state];
    if view.choice.paused {
        words.push("  paused".yellow());
    }
    frame.render_widget(Line::from(words), area);
}

fn draw_totals(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let Some(stats) = view.stats else { return };
    let per_second = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{}/s", rate(value)));
    let published = per_second(view.rates.map(|rates| rates.published));
    let delivered = per_second(view.rates.map(|rates| rates.delivered));
    let first = [
        pair("published ", published),
        pair("delivered ", delivered),
        pair("outboxes ", bytes(stats.outbox_bytes)),
        pair("deflate ", stats.deflate_ratio()),
    ];
    let second = [
        pair("sessions ", count(stats.sessions)),
        pair("subscriptions ", count(stats.subscriptions)),
        pair("topics ", count(stats.topics)),
    ];
    frame.render_widget(Paragraph::new(vec![Line::from(first.concat()), Line::from(second.concat())]), area);
}

/// A figure with its name before it.
fn pair(name: &'static str, value: String) -> [Span<'static>; 3] {
    [Span::raw(name).dark_gray(), Span::raw(value).bold(), Span::raw("   ")]
}

fn count(count: u64) -> String {
    rate(count as f64)
}

fn draw_cluster(frame: &mut Frame<'_>, area: Rect, cluster: &Cluster) {
    let cut = cluster.streams.len().saturating_sub(STREAMS_MAX);
    let more = if cut == 0 { String::new() } else { format!("and {cut} more streams") };
    let head = [pair("other gateways ", count(cluster.peers)), pair("publishes on their way ", count(cluster.inflight)), pair("", more)];
    let mut streams: Vec<_> = cluster.streams.iter().collect();
    streams.sort_by_key(|stream| stream.is_live());
    let line = |stream: &&Stream| {
        let colour = match (stream.is_live(), stream.lag) {
            (false, _) => Color::Red,
            (true, LAG_YELLOW..) => Color::Yellow,
            (true, _) => Color::Green,
        };
        let (name, state) = (printable(&stream.name), printable(&stream.state));
        let state = Span::styled(format!("{state:<9}"), Style::new().fg(colour));
        Line::from(vec![state, Span::raw(format!("{name:<34.34}  lag {:>9}  named {:.1} s ago", count(stream.lag), stream.tick_age_s))])
    };
    let lines = std::iter::once(Line::from(head.concat())).chain(streams.iter().take(STREAMS_MAX).map(line));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

fn draw_charts(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let [left, right] = Layout::horizontal([Fill(1), Fill(1)]).areas(area);
    let charts =
        [("published/s", &view.history.published, Color::Cyan, left), ("delivered/s", &view.history.delivered, Color::Green, right)];
    for (title, history, colour, area) in charts {
        let seen: Vec<u64> = history.iter().copied().skip(history.len().saturating_sub(usize::from(area.width))).collect();
        let chart = Sparkline::default().block(Block::new().title(title.dark_gray())).data(&seen).style(Style::new().fg(colour));
        frame.render_widget(chart, area);
    }
}

fn draw_tables(frame: &mut Frame<'_>, area: Rect, view: &View) {
    if view.tables.is_none() {
        let hint = match &view.note {
            Some(why) => printable(why),
            None => "With an admin key as --token, the slowest sessions and the busiest topics are shown here.".to_owned(),
        };
        frame.render_widget(Paragraph::new(hint.dark_gray()).wrap(ratatui::widgets::Wrap { trim: true }), area);
        return;
    }
    // If both tables do not fit, only the chosen one is shown.
    let share = |table| if view.choice.table == table || area.height >= 12 { Fill(1) } else { Length(0) };
    let [sessions, topics] = Layout::vertical([share(Table::Sessions), share(Table::Topics)]).areas(area);
    draw_sessions(frame, sessions, view);
    draw_topics(frame, topics, view);
}

fn draw_sessions(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rows = view.sessions().into_iter().skip(first_row(view, Table::Sessions)).map(|session| {
        let colour = match session.outbox_bytes {
            OUTBOX_RED.. => Color::Red,
            OUTBOX_YELLOW.. => Color::Yellow,
            _ => Color::Reset,
        };
        let (age, topic) = session
            .oldest
            .as_ref()
            .map_or_else(|| ("-".to_owned(), String::new()), |oldest| (format!("{} ms", oldest.age_ms), printable(&oldest.topic)));
        let outbox = Cell::from(bytes(session.outbox_bytes)).style(Style::new().fg(colour));
        let [user, id] = [session.user.as_deref().unwrap_or("-"), &session.session].map(printable);
        let others = [age, user, id, printable(&session.dialect), printable(&session.address), topic];
        Row::new(std::iter::once(outbox).chain(others.map(Cell::from)))
    });
    let widths = [Length(10), Length(10), Max(18), Length(16), Length(10), Max(21), Fill(1)];
    let names = ["outbox", "oldest", "user", "session", "dialect", "address", "its topic"];
    let table = TableWidget::new(rows, widths).header(header(&names, view)).block(block("Slowest sessions", Table::Sessions, view));
    frame.render_widget(table, area);
}

fn draw_topics(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rows = view.topics().into_iter().skip(first_row(view, Table::Topics)).map(|topic| {
        Row::new([Cell::from(format!("{:.1}", topic.rate)), Cell::from(count(topic.subscribers)), Cell::from(printable(&topic.topic))])
    });
    let widths = [Length(12), Length(14), Fill(1)];
    let cut = view.tables.as_ref().is_some_and(|tables| tables.topics_cut);
    let title = if cut { "Busiest topics of the first 5,000" } else { "Busiest topics" };
    let names = ["messages/s", "subscriptions", "topic"];
    let table = TableWidget::new(rows, widths).header(header(&names, view)).block(block(title, Table::Topics, view));
    frame.render_widget(table, area);
}

fn first_row(view: &View, table: Table) -> usize {
    if view.choice.table == table { view.choice.scroll } else { 0 }
}

fn header(names: &[&'static str], view: &View) -> Row<'static> {
    let sorted = view.choice.order as usize;
    let cells = names.iter().enumerate().map(|(index, name)| {
        let arrow = if view.choice.reversed { "▴" } else { "▾" };
        if index == sorted { Cell::from(format!("{name}{arrow}")).style(Style::new().fg(Color::Cyan)) } else { Cell::from(*name) }
    });
    Row::new(cells).style(Style::new().add_modifier(Modifier::BOLD))
}

fn block(title: &'static str, table: Table, view: &View) -> Block<'static> {
    let style = if view.choice.table == table { Style::new().fg(Color::Cyan).bold() } else { Style::new().fg(Color::DarkGray) };
    Block::new().borders(ratatui::widgets::Borders::TOP).border_style(style).title(Span::styled(title, style))
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let keys: &[(&str, &str)] = if view.tables.is_some() {
        &[("q", "quit"), ("tab", "table"), ("s", "sort"), ("r", "reverse"), ("p", "pause"), ("↑↓", "scroll")]
    } else {
        &[("q", "quit"), ("p", "pause")]
    };
    let words: Vec<Span<'_>> =
        keys.iter().flat_map(|(key, what)| [Span::raw(*key).bold().cyan(), Span::raw(format!(" {what}  ")).dark_gray()]).collect();
    frame.render_widget(Line::from(words), area);
}

/// Seconds as days, hours, minutes and seconds, from the first unit that is not zero.
fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds:02}s"),
        (0, _, _) => format!("{hours}h {minutes:02}m"),
        _ => format!("{days}d {hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::top::admin::{Oldest, RatedTopic, Session, Tables};
    use crate::cli::top::stats::Stats;

    fn view(tables: bool) -> View {
        let stats = Stats { sessions: 1_234, saved_bytes: 82, deflated_bytes: 18, uptime_s: 3_700.0, ..Stats::default() };
        let mut view = View::new("ws://127.0.0.1:8765/ws".into());
        let session = Session {
            session: "00c0ffee00c0ffee".into(),
            user: Some("ann\u{1b}[2J".into()),
            address: "127.0.0.1:40000".into(),
            dialect: "json".into(),
            outbox_bytes: 2 << 20,
            oldest: Some(Oldest { topic: "chat.lobby".into(), age_ms: 1_500 }),
        };
        let topic = RatedTopic { topic: "quotes.AAPL".into(), subscribers: 7, rate: 12.5 };
        let shown = Tables { sessions: vec![session], topics: vec![topic], topics_cut: false, cluster: None };
        view.update(stats, None);
        view.update(Stats { published: 2_000, uptime_s: 3_701.0, ..stats }, tables.then_some(shown));
        view
    }

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let rows = buffer.content().chunks(usize::from(width.max(1)));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n").collect()
    }

    #[test]
    fn a_usual_terminal_shows_rates_and_both_tables() {
        let text = drawn(&view(true), 110, 30);
        for word in
            ["2,000/s", "1,234", "18 %", "up 1h 01m", "2.0 MiB", "1500 ms", "chat.lobby", "quotes.AAPL", "12.5", "q quit", "outbox▾"]
        {
            assert!(text.contains(word), "{word} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn without_an_admin_key_the_screen_explains_the_tables() {
        assert!(drawn(&view(false), 100, 20).contains("admin key"));
    }

    /// The bug: a request that was refused, as by a limit of rates, ended the healthy session.
    #[test]
    fn figures_stay_if_the_tables_cannot_be_read() {
        let mut view = view(true);
        view.update_without_tables(view.stats.unwrap(), "GET /v1/topics answered 429".into());
        let text = drawn(&view, 110, 30);
        assert!(text.contains("answered 429") && text.contains("1,234") && !text.contains("reconnecting"), "{text}");
    }

    /// A restart of the gateway is shown in the title, and leaves the figures.
    #[test]
    fn a_lost_connection_is_shown_until_the_next_stats() {
        let mut view = view(true);
        view.lose("the gateway closed with 1001".into());
        let text = drawn(&view, 110, 30);
        assert!(text.contains("reconnecting: the gateway closed with 1001") && text.contains("quotes.AAPL"), "{text}");
        view.update(view.stats.unwrap(), None);
        assert!(!drawn(&view, 110, 30).contains("reconnecting"));
    }

    /// Streams that are not followed are shown before others.
    #[test]
    fn a_cluster_is_shown_above_the_charts() {
        let mut clustered = view(true);
        let stream = |name: &str, state: &str| Stream { name: name.into(), state: state.into(), lag: 12_345, tick_age_s: 1.04 };
        let streams = ["A", "B", "C", "D"].map(|name| stream(name, "live")).into_iter().chain([stream("LOST", "standing")]).collect();
        clustered.tables.as_mut().unwrap().cluster = Some(Cluster { peers: 2, inflight: 17, streams });
        let text = drawn(&clustered, 110, 30);
        for words in ["other gateways 2", "publishes on their way 17", "standing LOST", "12,345", "named 1.0 s ago", "and 1 more streams"] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
        assert!(!text.contains("live     D") && !drawn(&view(true), 110, 30).contains("other gateways"), "{text}");
        for (width, height) in [(1, 1), (20, 5), (80, 12)] {
            drawn(&clustered, width, height);
        }
    }

    #[test]
    fn any_terminal_size_is_drawn() {
        for (width, height) in [(1, 1), (3, 2), (20, 5), (40, 10), (80, 12), (300, 90)] {
            drawn(&view(true), width, height);
        }
        let text = drawn(&view(true), 60, 10);
        assert!(text.contains("Slowest sessions") && !text.contains("Busiest topics"), "{text}");
    }
}
