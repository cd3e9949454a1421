//! A plain model of the outbox: a list that is searched from its beginning each time, as PROTOCOL 3 and 7 describe it.

use super::*;

/// The waiting frames, and the gaps not yet told.
#[derive(Default)]
pub struct Plain {
    list: Vec<Entry>,
    gaps: Vec<(String, u64, u64)>,
    begun: bool,
    unsubscribes: u32,
}

/// One frame.
#[derive(Clone)]
pub struct Entry {
    /// How [`Desk::waiting`] shows it.
    pub name: String,
    /// The kind of the frame.
    pub kind: Kind,
}

/// The kind of a frame.
#[derive(Clone)]
pub enum Kind {
    Message { topic: String, offset: u64, at: Moment, unsubscribed: Option<u32> },
    Change { session: SessionId, joined: bool },
    Reply,
}

impl Entry {
    fn topic(&self) -> Option<&str> {
        if let Kind::Message { topic, .. } = &self.kind { Some(topic) } else { None }
    }

    fn conflates(&self) -> bool {
        self.topic().is_some_and(|topic| topic.starts_with('c'))
    }

    fn unsubscribed(&self) -> Option<u32> {
        if let Kind::Message { unsubscribed, .. } = self.kind { unsubscribed } else { None }
    }

    fn offset(&self) -> u64 {
        if let Kind::Message { offset, .. } = self.kind { offset } else { 0 }
    }

    fn is_pruned(&self) -> bool {
        self.unsubscribed().is_some()
    }

    fn is_counted(&self) -> bool {
        !matches!(self.kind, Kind::Reply)
    }
}

impl Plain {
    fn loose(&self) -> usize {
        usize::from(self.begun && !self.list.is_empty())
    }

    pub fn begin(&mut self) {
        if let (false, Some(Kind::Message { topic, offset, .. })) = (self.begun, self.list.first().map(|entry| &entry.kind)) {
            self.gaps.retain(|gap| gap.0 != *topic || gap.2 >= *offset);
        }
        self.begun = !self.list.is_empty();
    }

    pub fn send_first(&mut self) {
        self.begun = false;
        if !self.list.is_empty() {
            self.list.remove(0);
        }
    }

    pub fn offer(&mut self, entry: Entry, bytes_max: usize) {
        if let Kind::Change { session, joined } = entry.kind {
            let is_earlier = |other: &Entry| matches!(other.kind, Kind::Change { session: of, .. } if of == session);
            let earlier = (self.loose()..self.list.len()).rev().find(|&index| is_earlier(&self.list[index]));
            let undone = earlier.filter(|&index| matches!(self.list[index].kind, Kind::Change { joined: was, .. } if was != joined));
            if let Some(index) = undone {
                self.list.remove(index);
                return;
            }
        }
        let is_counted = entry.is_counted();
        self.list.push(entry);
        if is_counted {
            self.shrink(bytes_max);
        }
    }

    pub fn offer_dropped(&mut self, topic: &str, from: u64, to: u64) {
        if self.list.is_empty() && self.gaps.iter().all(|gap| gap.0 != topic) {
            self.list.push(Entry { name: "-".into(), kind: Kind::Reply });
            return;
        }
        match self.gaps.iter_mut().find(|gap| gap.0 == topic && gap.2 + 1 == from) {
            Some(gap) => gap.2 = to,
            None => self.gaps.push((topic.into(), from, to)),
        }
    }

    pub fn shrink(&mut self, bytes_max: usize) {
        if self.fits(bytes_max) {
            return;
        }
        let mut index = self.loose();
        while index < self.list.len() {
            let of_topic = |other: &Entry| other.conflates() && !other.is_pruned() && other.topic() == self.list[index].topic();
            let older = (self.loose()..index).find(|&older| of_topic(&self.list[older]));
            match older.filter(|_| self.list[index].conflates() && !self.list[index].is_pruned()) {
                Some(older) => self.list[older] = self.list.remove(index),
                None => index += 1,
            }
        }
        let mut index = self.loose();
        while index < self.list.len() && !self.fits(bytes_max) && !self.is_newest_alone() {
            if self.list[index].topic().is_some_and(|topic| !topic.starts_with('x')) { self.drop_at(index) } else { index += 1 }
        }
    }

    fn fits(&self, bytes_max: usize) -> bool {
        let counted = self.list.iter().filter(|entry| entry.is_counted()).count();
        counted * FRAME_BYTES <= bytes_max || counted <= 1
    }

    /// Whether the only counted frame behind a partly written one is the newest message of a `conflate` topic.
    fn is_newest_alone(&self) -> bool {
        let mut loose = self.list[self.loose()..].iter().filter(|entry| entry.is_counted());
        loose.next().is_some_and(|entry| entry.conflates() && !entry.is_pruned()) && loose.next().is_none()
    }

    fn drop_at(&mut self, index: usize) {
        let Kind::Message { topic, offset, unsubscribed, .. } = self.list.remove(index).kind else { return };
        match self.gaps.iter_mut().find(|gap| gap.0 == topic && gap.2 + 1 == offset) {
            Some(gap) => gap.2 = offset,
            None => self.gaps.push((topic.clone(), offset, offset)),
        }
        if unsubscribed.is_some() && !self.tells_before(&topic, |entry| entry.unsubscribed() == unsubscribed) {
            self.gaps.retain(|gap| gap.0 != topic || gap.1 > offset);
        }
    }

    pub fn end_aged(&mut self, now: Moment) {
        let mut index = self.loose();
        while index < self.list.len() {
            let is_aged =
                matches!(&self.list[index].kind, Kind::Message { topic, at, .. } if topic.contains("aged") && now.since(*at) > MAX_AGE);
            let of = |entry: &Entry| (entry.topic().map(str::to_owned), entry.unsubscribed());
            let has_newer = self.list[index + 1..].iter().any(|newer| of(newer) == of(&self.list[index]));
            match (is_aged, self.list[index].conflates()) {
                (true, false) => self.drop_at(index),
                (true, true) if has_newer => drop(self.list.remove(index)),
                _ => index += 1,
            }
        }
    }

    /// Whether a gap of `topic` is to be told before an entry of the topic for which `such` holds.
    fn tells_before(&self, topic: &str, such: impl Fn(&Entry) -> bool) -> bool {
        let first = self.gaps.iter().filter(|gap| gap.0 == topic).map(|gap| gap.2).min();
        let is_behind = |entry: &Entry| matches!(&entry.kind, Kind::Message { topic: of, offset, .. } if of == topic && first.is_some_and(|to| to < *offset));
        self.list.iter().any(|entry| such(entry) && is_behind(entry))
    }

    pub fn mark_unsubscribed(&mut self, gone: &str) {
        let newest = self.list.iter().filter(|entry| entry.topic() == Some(gone)).map(Entry::offset).max().unwrap_or(0);
        self.unsubscribes += 1;
        for entry in &mut self.list {
            match &mut entry.kind {
                Kind::Message { topic, unsubscribed: unsubscribed @ None, .. } if topic == gone => *unsubscribed = Some(self.unsubscribes),
                _ => {}
            }
        }
        self.gaps.retain(|gap| gap.0 != gone || gap.2 < newest);
    }

    /// The frames and gaps in the form of [`Desk::waiting`] and [`Desk::gaps`].
    pub fn told(&self) -> (Vec<String>, Vec<(u64, u64)>) {
        let mut gaps = self.gaps.clone();
        gaps.sort();
        (self.list.iter().map(|entry| entry.name.clone()).collect(), gaps.into_iter().map(|(_, from, to)| (from, to)).collect())
    }
}
