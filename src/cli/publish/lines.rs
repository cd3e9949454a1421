//! The payloads: one argument, or the lines of standard input.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::mpsc;

const LINE_BYTES_MAX: u64 = 16 << 20;
const LINES_AHEAD: usize = 256;

/// The source of payloads.
pub(super) struct Source {
    lines: mpsc::Receiver<std::io::Result<Vec<u8>>>,
    is_stream: bool,
}

impl Source {
    /// One payload.
    pub(super) fn one(data: String) -> Self {
        let (sender, lines) = mpsc::channel(1);
        sender.try_send(Ok(data.into_bytes())).expect("a new queue of one has room for one");
        Self { lines, is_stream: false }
    }

    /// The lines of standard input, without line ends.
    pub(super) fn standard_input() -> Self {
        let (sender, lines) = mpsc::channel(LINES_AHEAD);
        tokio::spawn(async move {
            let mut input = BufReader::new(tokio::io::stdin());
            loop {
                let mut line = Vec::new();
                let outcome = match (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
                    Ok(0) => return,
                    Ok(_) if line.len() as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") => {
                        Err(std::io::Error::other("a line of standard input is longer than 16 MiB"))
                    }
                    Ok(_) => {
                        line.pop_if(|byte| *byte == b'\n');
                        line.pop_if(|byte| *byte == b'\r');
                        Ok(line)
                    }
                    Err(error) => Err(error),
                };
                let failed = outcome.is_err();
                if sender.send(outcome).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { lines, is_stream: true }
    }

    /// The next payload; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<std::io::Result<Vec<u8>>> {
        self.lines.recv().await
    }

    /// Whether the payloads are lines of standard input.
    pub(super) fn is_stream(&self) -> bool {
        self.is_stream
    }
}
