//! The payload of a message: its stream, sequence number, and scheduled time.
//!
//! `{"m":"rrrr.ssssss.qqqqqqqq.nnnnnnnnnnnn","p":"…"}`: run, stream, sequence and the scheduled time in hexadecimal digits of
//! fixed width, then padding up to the wanted size. It is JSON, so that `data` can hold it unchanged. Each field has a
//! fixed place, so that no parser is needed to read one.

/// The first bytes of each payload.
pub const MARKER: &[u8] = b"{\"m\":\"";
/// The smallest payload in bytes.
pub const BYTES_MIN: usize = 64;

const RUN: std::ops::Range<usize> = 6..10;
const STREAM: std::ops::Range<usize> = 11..17;
const SEQUENCE: std::ops::Range<usize> = 18..26;
const SCHEDULED: std::ops::Range<usize> = 27..39;
const AFTER_STAMP: &[u8] = b"\",\"p\":\"";
/// Words of quotes, for the padding.
const WORDS: &str = "bid ask price volume AAPL MSFT 187.31 187.30 414.07 1200 open close high low ts 1732233600123";

/// The content of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The stream: one publisher's messages to one topic.
    pub stream: u32,
    /// The sequence number within the stream, from 1.
    pub sequence: u32,
    /// The scheduled time, in nanoseconds of the run's clock.
    pub scheduled: u64,
}

/// Why a payload is not valid in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It has another form, or belongs to another run.
    Foreign,
    /// It belongs to this run, but its bytes were changed.
    Altered,
}

/// Writes and reads the payloads of one run.
#[derive(Debug, Clone)]
pub struct Stamper {
    template: Vec<u8>,
}

impl Stamper {
    /// A stamper of payloads of `bytes` bytes, at least [`BYTES_MIN`], in the run `run`.
    pub fn new(run: u16, bytes: usize) -> Self {
        let mut template = Vec::with_capacity(bytes);
        template.extend_from_slice(MARKER);
        template.extend_from_slice(b"0000.000000.00000000.000000000000");
        template.extend_from_slice(AFTER_STAMP);
        write_hex(&mut template[RUN], u64::from(run));
        let end = bytes.max(BYTES_MIN) - 2;
        let (words, mut random) = (WORDS.split(' ').collect::<Vec<_>>(), u64::from(run) | 1);
        while template.len() < end {
            // Random words compress about as well as quotes, unlike zeros.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            template.extend_from_slice(words[(random >> 60) as usize].as_bytes());
            template.push(b' ');
        }
        template.truncate(end);
        template.extend_from_slice(b"\"}");
        Self { template }
    }

    /// The size of each payload in bytes.
    pub fn bytes(&self) -> usize {
        self.template.len()
    }

    /// Writes the payload of `stamp`.
    pub fn write(&mut self, stamp: Stamp) -> &[u8] {
        write_hex(&mut self.template[STREAM], u64::from(stamp.stream));
        write_hex(&mut self.template[SEQUENCE], u64::from(stamp.sequence));
        write_hex(&mut self.template[SCHEDULED], stamp.scheduled);
        &self.template
    }

    /// Reads `payload`, and compares every byte of it.
    pub fn read(&self, payload: &[u8]) -> Result<Stamp, Mismatch> {
        if payload.len() < SCHEDULED.end || payload[..RUN.end] != self.template[..RUN.end] {
            return Err(Mismatch::Foreign);
        }
        if payload.len() != self.template.len() || payload[SCHEDULED.end..] != self.template[SCHEDULED.end..] {
            return Err(Mismatch::Altered);
        }
        let field = |range: std::ops::Range<usize>| read_hex(&payload[range]).ok_or(Mismatch::Altered);
        Ok(Stamp { stream: field(STREAM)? as u32, sequence: field(SEQUENCE)? as u32, scheduled: field(SCHEDULED)? })
    }
}

fn write_hex(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn read_hex(field: &[u8]) -> Option<u64> {
    field.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        for bytes in [BYTES_MIN, 128, 2_000] {
            let mut stamper = Stamper::new(0xbeef, bytes);
            let stamp = Stamp { stream: 77, sequence: 4_000_000_000, scheduled: 123_456_789_012 };
            let payload = stamper.write(stamp).to_vec();
            assert_eq!(payload.len(), bytes);
            assert_eq!(stamper.read(&payload), Ok(stamp));
            serde_json::from_slice::<serde_json::Value>(&payload).unwrap();
        }
    }

    #[test]
    fn a_payload_of_another_run_is_foreign() {
        let payload = Stamper::new(1, 128).write(Stamp { stream: 0, sequence: 1, scheduled: 0 }).to_vec();
        assert_eq!(Stamper::new(2, 128).read(&payload), Err(Mismatch::Foreign));
        assert_eq!(Stamper::new(2, 128).read(b"hello"), Err(Mismatch::Foreign));
    }

    #[test]
    fn a_changed_byte_is_detected() {
        let mut stamper = Stamper::new(1, 128);
        let payload = stamper.write(Stamp { stream: 0, sequence: 1, scheduled: 0 }).to_vec();
        for at in [12, 20, 30, 42, 100, 127] {
            let mut altered = payload.clone();
            altered[at] = b'?';
            assert_eq!(stamper.read(&altered), Err(Mismatch::Altered), "byte {at}");
        }
        assert_eq!(stamper.read(&payload[..127]), Err(Mismatch::Altered));
    }
}
