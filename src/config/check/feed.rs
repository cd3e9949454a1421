//! `[feed]`, raw to typed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::config::notation::TopicTemplate;
use crate::config::settings::{Feed, Replay, Simulator};
use crate::config::tree::{Entry, Raw, Section, refuse_unread};
use crate::topic_name::TopicName;

/// Reads `[feed]`.
pub(super) fn feed(section: &Section<'_>, raw: &Raw) -> Feed {
    Feed {
        simulator: section.table("simulator", simulator),
        replay: section.tables("replay", |replayed| replay(replayed, raw)).into_iter().flatten().collect(),
    }
}

fn simulator(section: &Section<'_>) -> Option<Simulator> {
    let default = Simulator::default();
    let mut seen = BTreeSet::new();
    let enabled = section.boolean("enabled", false);
    let given = section.entry("symbols").is_some();
    let symbols = section.list("symbols", |entry| {
        let symbol = entry.parsed(symbol)?;
        if !seen.insert(symbol.clone()) {
            entry.refuse("is listed twice; write each symbol once");
        }
        Some(symbol)
    });
    if enabled && given && seen.is_empty() {
        section.add_problem("symbols = [] leaves nothing to quote; write at least one symbol, as in [\"AAPL\"], or enabled = false");
    }
    let simulator = Simulator {
        symbols: if given { symbols } else { default.symbols },
        interval: section.duration("interval", default.interval, ("1us", "1d")),
        seed: section.integer("seed", default.seed, 0..=i64::MAX as u64),
    };
    enabled.then_some(simulator)
}

/// Reads a symbol. It must be one token, because its quotes go to `quotes.SYMBOL`.
fn symbol(text: &str) -> Result<String, String> {
    match TopicName::parse(&format!("quotes.{text}")) {
        Ok(topic) if topic.tokens().count() == 2 => Ok(text.to_owned()),
        Ok(_) => Err("is not a symbol; write one token, without a dot, as in \"AAPL\"".to_owned()),
        Err(error) => Err(format!("is not a symbol, which is one token as in \"AAPL\": {error}")),
    }
}

fn replay(section: &Section<'_>, raw: &Raw) -> Option<Replay> {
    let file = section
        .required("file", section.entry("file"), "write the recording's path, as in \"ticks.csv\"")
        .and_then(|(_, entry)| recording(&entry, raw));
    let topic =
        section.required("topic", section.entry("topic"), "write the topic to publish on, as in \"quotes.USDJPY\" or \"quotes.{symbol}\"");
    let topic = topic.and_then(|(_, entry)| entry.parsed(TopicTemplate::parse));
    let time = match section.entry("time") {
        entry @ Some(_) => {
            section.required("time", entry, "write the column that paces it, as in \"timestamp\"").map(|(text, _)| text.to_owned())
        }
        None => Some("timestamp".to_owned()),
    };
    let speed = section.entry("speed").map_or(Some(1.0), |entry| entry.number());
    let repeat = section.boolean("repeat", false);
    Some(Replay { file: file?, topic: topic?, time: time?, speed: speed?, repeat })
}

fn recording(entry: &Entry<'_>, raw: &Raw) -> Option<PathBuf> {
    let file = raw.resolve(entry.text()?, entry.origin());
    let kind_is_known = file.extension().is_some_and(|kind| kind == "csv" || kind == "jsonl");
    if !kind_is_known {
        entry.refuse("ends in neither .csv nor .jsonl; give a recording that does");
    } else if let Err(error) = std::fs::File::open(&file) {
        refuse_unread(entry, &file, &error);
    } else if file.is_dir() {
        entry.refuse("is a folder; give a file that ends in .csv or .jsonl");
    }
    Some(file)
}
