//! The state of the terminal view: rates, their history, two tables, and the user's choices.

use std::collections::VecDeque;

use super::admin::{RatedTopic, Session, Tables};
use super::stats::{Rates, Stats};

/// The longest history of the charts, in seconds.
const HISTORY_MAX: usize = 600;

/// The table that the keys act on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Table {
    #[default]
    Sessions,
    Topics,
}

/// The order of a table. The number of a variant is that of its column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// The fullest outbox, the busiest topic.
    #[default]
    Load,
    /// The oldest message of an outbox, the most subscribers.
    Second,
    /// The user, the topic's name.
    Name,
}

/// A key with an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    NextTable,
    NextOrder,
    Reverse,
    Pause,
    Down,
    Up,
}

#[derive(Default)]
pub(super) struct View {
    pub(super) url: String,
    /// Why the connection was lost; `None` while there is one.
    pub(super) lost: Option<String>,
    pub(super) stats: Option<Stats>,
    pub(super) rates: Option<Rates>,
    pub(super) history: History,
    /// Why the tables could not be read; `None` if they could.
    pub(super) note: Option<String>,
    /// `None` without an admin key.
    pub(super) tables: Option<Tables>,
    pub(super) choice: Choice,
}

/// The rates of the last minutes, the newest last.
#[derive(Default)]
pub(super) struct History {
    pub(super) published: VecDeque<u64>,
    pub(super) delivered: VecDeque<u64>,
}

/// The user's choices.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) table: Table,
    pub(super) order: Order,
    pub(super) reversed: bool,
    pub(super) paused: bool,
    /// The first visible row of the table.
    pub(super) scroll: usize,
}

impl View {
    pub(super) fn new(url: String) -> Self {
        Self { url, ..Self::default() }
    }

    /// Shows the next stats and tables, unless the view is paused.
    pub(super) fn update(&mut self, stats: Stats, tables: Option<Tables>) {
        let rates = self.stats.and_then(|earlier| stats.rates_since(&earlier));
        self.lost = None;
        self.note = None;
        self.stats = Some(stats);
        if let Some(rates) = rates {
            for (history, rate) in [(&mut self.history.published, rates.published), (&mut self.history.delivered, rates.delivered)] {
                history.push_back(rate.round() as u64);
                if history.len() > HISTORY_MAX {
                    history.pop_front();
                }
            }
        }
        if !self.choice.paused {
            self.rates = rates;
            self.tables = tables;
        }
    }

    /// Shows the next stats, and why there are no tables. The last tables stay hidden until there are new ones.
    pub(super) fn update_without_tables(&mut self, stats: Stats, why: String) {
        self.update(stats, None);
        self.note = Some(why);
    }

    /// Shows that the connection was lost. The figures stay.
    pub(super) fn lose(&mut self, why: String) {
        self.lost = Some(why);
        self.rates = None;
    }

    /// Handles `key`. Returns whether the program continues.
    pub(super) fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Quit => return false,
            Key::NextTable => {
                self.choice.table = if self.choice.table == Table::Sessions { Table::Topics } else { Table::Sessions };
                self.choice.scroll = 0;
            }
            Key::NextOrder => {
                self.choice.order = match self.choice.order {
                    Order::Load => Order::Second,
                    Order::Second => Order::Name,
                    Order::Name => Order::Load,
                };
            }
            Key::Reverse => self.choice.reversed = !self.choice.reversed,
            Key::Pause => self.choice.paused = !self.choice.paused,
            Key::Down => self.choice.scroll = (self.choice.scroll + 1).min(self.rows().saturating_sub(1)),
            Key::Up => self.choice.scroll = self.choice.scroll.saturating_sub(1),
        }
        true
    }

    fn rows(&self) -> usize {
        self.tables.as_ref().map_or(0, |tables| match self.choice.table {
            Table::Sessions => tables.sessions.len(),
            Table::Topics => tables.topics.len(),
        })
    }

    /// The sessions in the chosen order.
    pub(super) fn sessions(&self) -> Vec<&Session> {
        let mut sessions: Vec<&Session> = self.tables.iter().flat_map(|tables| &tables.sessions).collect();
        let age = |session: &Session| session.oldest.as_ref().map_or(0, |oldest| oldest.age_ms);
        match self.choice.order {
            Order::Load => sessions.sort_by_key(|session| std::cmp::Reverse(session.outbox_bytes)),
            Order::Second => sessions.sort_by_key(|session| std::cmp::Reverse(age(session))),
            Order::Name => sessions.sort_by(|a, b| (&a.user, &a.session).cmp(&(&b.user, &b.session))),
        }
        if self.choice.reversed {
            sessions.reverse();
        }
        sessions
    }

    /// The topics in the chosen order.
    pub(super) fn topics(&self) -> Vec<&RatedTopic> {
        let mut topics: Vec<&RatedTopic> = self.tables.iter().flat_map(|tables| &tables.topics).collect();
        match self.choice.order {
            Order::Load => topics.sort_by(|a, b| b.rate.total_cmp(&a.rate)),
            Order::Second => topics.sort_by_key(|topic| std::cmp::Reverse(topic.subscribers)),
            Order::Name => topics.sort_by(|a, b| a.topic.cmp(&b.topic)),
        }
        if self.choice.reversed {
            topics.reverse();
        }
        topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, subscribers: u64, rate: f64) -> RatedTopic {
        RatedTopic { topic: name.into(), subscribers, rate }
    }

    fn names(view: &View) -> Vec<&str> {
        view.topics().iter().map(|topic| topic.topic.as_str()).collect()
    }

    #[test]
    fn keys_sort_reverse_and_quit() {
        let mut view = View::new("ws://a/ws".into());
        let topics = vec![topic("b", 9, 1.0), topic("a", 5, 3.0), topic("c", 7, 2.0)];
        view.tables = Some(Tables { topics, ..Tables::default() });
        assert_eq!(names(&view), ["a", "c", "b"]);
        assert!(view.press(Key::NextOrder));
        assert_eq!(names(&view), ["b", "c", "a"]);
        assert!(view.press(Key::NextOrder) && view.press(Key::Reverse));
        assert_eq!(names(&view), ["c", "b", "a"]);
        assert!(!view.press(Key::Quit));
    }

    #[test]
    fn a_pause_keeps_the_tables_and_scrolling_keeps_to_them() {
        let stats = Stats { uptime_s: 1.0, ..Stats::default() };
        let mut view = View::new("ws://a/ws".into());
        view.update(stats, Some(Tables { topics: vec![topic("a", 1, 1.0), topic("b", 1, 1.0)], ..Tables::default() }));
        view.press(Key::Pause);
        view.update(Stats { uptime_s: 2.0, ..stats }, None);
        view.press(Key::NextTable);
        (0..5).for_each(|_| assert!(view.press(Key::Down)));
        assert_eq!((names(&view).len(), view.choice.scroll), (2, 1));
    }
}
