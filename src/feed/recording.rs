//! Reads the ticks of a recorded file: the time, topic and payload of each.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::lines::{Line, Lines};
use super::rows::{self, Row, Rows};
use super::time_stamp;
use crate::config::{Problem, Replay, TopicTemplate};
use crate::topic_name::TopicName;

/// One recorded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tick {
    /// Its time stamp, in nanoseconds since 1970; 0 if no column has times.
    pub nanos: i128,
    pub topic: TopicName,
    /// The payload, which is JSON text.
    pub payload: Bytes,
}

/// A record that is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadRecord {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads a recording record by record.
pub(super) struct Recording {
    source: Source,
    settings: Replay,
}

enum Source {
    Csv { rows: Rows<File>, header: Header },
    JsonLines(Lines<BufReader<File>>),
}

/// The first row of a CSV file.
struct Header {
    names: Vec<String>,
    /// The names of the columns as JSON strings.
    keys: Vec<String>,
}

impl Recording {
    /// Opens the file of `settings`. The error also reports a missing column, and a file without records.
    pub fn open(settings: &Replay) -> Result<Self, Problem> {
        let shown = settings.file.display();
        if settings.time.is_empty() && settings.speed != 0.0 {
            return Err(Problem(format!("feed.replay.time is empty for {shown}; name the column that paces it, or set `speed = 0`")));
        }
        let source = match settings.file.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => open_csv(settings)?,
            Some("jsonl") => open_json_lines(settings)?,
            _ => return Err(Problem(format!("feed.replay.file: {shown} is neither a .csv nor a .jsonl file by its name"))),
        };
        Ok(Self { source, settings: settings.clone() })
    }

    /// The settings with which it was opened.
    pub fn settings(&self) -> &Replay {
        &self.settings
    }

    /// The next tick, or the problem of its record; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Result<Tick, BadRecord>>> {
        let Replay { time, topic, .. } = &self.settings;
        let (line, tick) = match &mut self.source {
            Source::Csv { rows, header } => {
                let Some(Row { line, cells }) = rows.next()? else { return Ok(None) };
                let tick = cells.map_err(str::to_owned).and_then(|cells| from_row(&cells, header, time, topic));
                (line, tick)
            }
            Source::JsonLines(lines) => {
                let Some(Line { number, text }) = lines.next()? else { return Ok(None) };
                (number, text.map_err(str::to_owned).and_then(|text| from_line(text, time, topic)))
            }
        };
        Ok(Some(tick.map_err(|reason| BadRecord { line, reason })))
    }
}

fn open_csv(settings: &Replay) -> Result<Source, Problem> {
    let shown = settings.file.display();
    let open = || File::open(&settings.file).map(Rows::new).map_err(|error| unreadable(settings, &error));
    let mut rows = open()?;
    let names: Vec<String> = match rows.next().map_err(|error| unreadable(settings, &error))? {
        Some(Row { cells: Ok(cells), .. }) => cells.into_iter().map(str::to_owned).collect(),
        Some(Row { cells: Err(reason), .. }) => return Err(Problem(format!("feed.replay.file: {shown}, line 1: {reason}"))),
        None => return Err(Problem(format!("feed.replay.file: {shown} is empty; its first line names the columns"))),
    };
    check_columns(&names, settings)?;
    if let Some(twice) = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
        return Err(Problem(format!("feed.replay.file: {shown} has the column {:?} twice", twice.1)));
    }
    // A malformed row is reported later, as a bad record with its line. So it counts as a record here.
    let mut ahead = open()?;
    ahead.next().map_err(|error| unreadable(settings, &error))?;
    if matches!(ahead.next(), Ok(None)) {
        return Err(Problem(format!("feed.replay.file: {shown} has a header and no row behind it")));
    }
    let keys = names.iter().map(|name| rows::json_string(name)).collect();
    Ok(Source::Csv { rows, header: Header { names, keys } })
}

/// Opens a JSON Lines file, and looks for the columns in its first line. A bad first line is skipped later, as any
/// other, unless it shows that the file has other line ends.
fn open_json_lines(settings: &Replay) -> Result<Source, Problem> {
    let open = || File::open(&settings.file).map(|file| Lines::new(BufReader::new(file)));
    let mut lines = open().map_err(|error| unreadable(settings, &error))?;
    let Some(first) = lines.next().map_err(|error| unreadable(settings, &error))? else {
        return Err(Problem(format!("feed.replay.file: {} has no line that is a message", settings.file.display())));
    };
    if let Ok(text) = first.text {
        match fields(text) {
            Ok(fields) if fields.is_empty() => {}
            Ok(fields) => check_columns(&fields.into_keys().collect::<Vec<_>>(), settings)?,
            // With such line ends the whole file is one bad record.
            Err(reason) if text.contains('\r') => {
                return Err(Problem(format!("feed.replay.file: {}, line {}: {reason}", settings.file.display(), first.number)));
            }
            Err(_) => {}
        }
    }
    open().map(Source::JsonLines).map_err(|error| unreadable(settings, &error))
}

fn unreadable(settings: &Replay, error: &io::Error) -> Problem {
    Problem(format!("feed.replay.file: {} can't be read: {error}", settings.file.display()))
}

/// Checks that the columns of `settings` exist.
fn check_columns(columns: &[String], settings: &Replay) -> Result<(), Problem> {
    let time = settings.time.as_str();
    let paced = [("time", time, time)].into_iter().filter(|_| !time.is_empty());
    let mut wanted = settings.topic.columns().map(|column| ("topic", settings.topic.as_str(), column)).chain(paced);
    match wanted.find(|(_, _, column)| !columns.iter().any(|name| name == column)) {
        None => Ok(()),
        Some((key, value, column)) => {
            let (shown, there) = (settings.file.display(), columns.join(", "));
            Err(Problem(format!("feed.replay.{key} = {value:?}: {shown} has no column {column:?}; it has {there}")))
        }
    }
}

fn from_row(cells: &[&str], header: &Header, time: &str, topic: &TopicTemplate) -> Result<Tick, String> {
    let Header { names, keys } = header;
    if cells.len() != names.len() {
        return Err(format!("it has {} cells, the header has {}", cells.len(), names.len()));
    }
    let cell = |column: &str| names.iter().position(|name| name == column).map(|index| Cow::Borrowed(cells[index]));
    Ok(Tick { nanos: nanos(time, cell)?, topic: topic.fill(cell)?, payload: rows::object(keys, cells).into() })
}

fn from_line(line: &str, time: &str, topic: &TopicTemplate) -> Result<Tick, String> {
    let fields = fields(line)?;
    let field = |column: &str| fields.get(column).map(|value| text_of(value));
    Ok(Tick { nanos: nanos(time, field)?, topic: topic.fill(field)?, payload: Bytes::copy_from_slice(line.as_bytes()) })
}

/// The fields of a JSON object, with unparsed values.
fn fields(line: &str) -> Result<BTreeMap<String, &RawValue>, String> {
    serde_json::from_str(line).map_err(|error| match line.contains('\r') {
        true => "it is not a JSON object, and holds a carriage return; lines end with LF or CR LF".to_owned(),
        false => format!("it is not a JSON object: {error}"),
    })
}

/// The content of a string; other values as written.
fn text_of(value: &RawValue) -> Cow<'_, str> {
    serde_json::from_str::<String>(value.get()).map_or(Cow::Borrowed(value.get()), Cow::Owned)
}

fn nanos<'a>(time: &str, cell: impl Fn(&str) -> Option<Cow<'a, str>>) -> Result<i128, String> {
    if time.is_empty() {
        return Ok(0);
    }
    let text = cell(time).ok_or_else(|| format!("it has no {time:?}"))?;
    time_stamp::parse(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> TopicTemplate {
        TopicTemplate::parse(text).unwrap()
    }

    fn settings(name: &str, content: &str) -> (tempfile::TempDir, Replay) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        (folder, Replay { file, topic: topic("quotes.{symbol}"), time: "time".into(), speed: 1.0, repeat: false })
    }

    fn read(name: &str, content: &str) -> Vec<Result<(i128, String, String), BadRecord>> {
        let (_folder, settings) = settings(name, content);
        let mut recording = Recording::open(&settings).unwrap();
        let mut all = Vec::new();
        while let Some(tick) = recording.next().unwrap() {
            let shown = |tick: Tick| (tick.nanos, tick.topic.to_string(), String::from_utf8(tick.payload.to_vec()).unwrap());
            all.push(tick.map(shown));
        }
        all
    }

    fn problem(name: &str, content: &str, change: impl FnOnce(&mut Replay)) -> String {
        let (_folder, mut settings) = settings(name, content);
        change(&mut settings);
        Recording::open(&settings).err().unwrap().0
    }

    /// PROTOCOL 8: a row becomes an object with the header's names in order, and numbers with the digits of the file.
    #[test]
    fn a_csv_row_becomes_an_object() {
        let all = read(
            "t.csv",
            "time,symbol,bid,\"the \"\"note\"\"\"\r\n2013-01-01 22:00:00+00:00,USDJPY,86.650,007\r\n1,EURUSD,1.10,\"a\nb\"\r\n",
        );
        let note = r#""the \"note\"""#;
        let first = format!(r#"{{"time":"2013-01-01 22:00:00+00:00","symbol":"USDJPY","bid":86.650,{note}:"007"}}"#);
        assert_eq!(all[0], Ok((1_357_077_600_000_000_000, "quotes.USDJPY".into(), first)));
        assert_eq!(
            all[1],
            Ok((1_000_000_000, "quotes.EURUSD".into(), format!(r#"{{"time":1,"symbol":"EURUSD","bid":1.10,{note}:"a\nb"}}"#)))
        );
    }

    /// PROTOCOL 8.
    #[test]
    fn a_json_line_is_published_unchanged() {
        let lines = [
            "{ \"time\": 1732233600123, \"symbol\":\"A\\u0042\", \"price\": 1.10, \"big\":123456789012345678901 }",
            r#"{"symbol":7,"time":"2013-01-01T22:00:00Z"}"#,
        ];
        let all = read("t.jsonl", &format!("{}\r\n\n{}", lines[0], lines[1]));
        assert_eq!(all[0], Ok((1_732_233_600_123_000_000, "quotes.AB".into(), lines[0].into())));
        assert_eq!(all[1], Ok((1_357_077_600_000_000_000, "quotes.7".into(), lines[1].into())));
    }

    #[test]
    fn bad_records_are_reported_with_line_and_reason() {
        let all = read("t.csv", "time,symbol\n1,A\n2\nsoon,A\n3,A B\n4,$A\n5,\"A\nB\"x\n6,B\n");
        let bad: Vec<_> = all.iter().filter_map(|tick| tick.as_ref().err()).map(|bad| (bad.line, bad.reason.as_str())).collect();
        assert_eq!(bad.iter().map(|bad| bad.0).collect::<Vec<_>>(), [3, 4, 5, 7]);
        assert!(bad[0].1.contains("1 cells, the header has 2") && bad[1].1.contains("\"soon\"") && bad[2].1.contains("A B"), "{bad:?}");
        assert_eq!(all.iter().filter(|tick| tick.is_ok()).count(), 3, "a `$` within a name is valid");

        let all =
            read("t.jsonl", "[1]\n{\"time\":1}\n{\"time\":1,\"symbol\":\"A\"} x\n{\"symbol\":\"A\"}\n{\"time\":1,\"symbol\":\"A\"}\n");
        assert_eq!(all.iter().map(|tick| tick.is_ok()).collect::<Vec<_>>(), [false, false, false, false, true]);
    }

    /// Line ends of CR only: CSV rows are read, and a JSON line is reported.
    #[test]
    fn lone_carriage_returns_end_csv_rows_only() {
        assert_eq!(read("t.csv", "time,symbol\r1,A\r2,B\r").iter().filter(|tick| tick.is_ok()).count(), 2);
        // The bug: `check` accepted such a file.
        let problem = problem("t.jsonl", "{\"time\":1,\"symbol\":\"A\"}\r{\"time\":2,\"symbol\":\"A\"}\r", |_| {});
        assert!(problem.contains("t.jsonl, line 1") && problem.contains("lines end with LF or CR LF"), "{problem}");
    }

    #[test]
    fn a_file_that_cannot_be_replayed_is_refused_when_opened() {
        let csv = "when,symbol\n1,A\n";
        assert!(problem("t.csv", csv, |_| {}).ends_with("has no column \"time\"; it has when, symbol"));
        assert!(problem("t.jsonl", "{\"when\":1,\"symbol\":\"A\"}", |_| {}).ends_with("has no column \"time\"; it has symbol, when"));
        assert!(problem("t.csv", csv, |replay| replay.topic = topic("quotes.{name}")).contains("no column \"name\""));
        assert!(problem("t.csv", csv, |replay| replay.time.clear()).contains("speed = 0"));
        assert!(problem("t.csv", "", |_| {}).contains("is empty"));
        for header in ["time,symbol", "time,symbol\r\n", "time,symbol\r", "time,symbol\n\n"] {
            assert!(problem("t.csv", header, |_| {}).contains("t.csv has a header and no row"), "{header:?}");
        }
        assert!(problem("t.jsonl", "\n\n", |_| {}).contains("t.jsonl has no line"));
        assert!(problem("t.csv", "time,symbol,time\n", |_| {}).contains("\"time\" twice"));
        assert!(problem("t.txt", csv, |_| {}).contains("neither a .csv nor a .jsonl"));
        assert!(problem("t.csv", csv, |replay| replay.file.push("x.csv")).contains("can't be read"));
    }
}
