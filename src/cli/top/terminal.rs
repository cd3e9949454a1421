//! The terminal: its keys, and its alternate screen.

use std::io;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::screen::draw;
use super::view::{Key, View};

/// How often the thread that reads keys checks whether the program has ended.
const KEY_WAIT: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Key(Key),
    /// The size of the terminal has changed.
    Resized,
}

/// The terminal with its alternate screen. Dropping it restores the former content.
pub(super) struct Terminal {
    terminal: DefaultTerminal,
    inputs: mpsc::Receiver<Input>,
}

impl Terminal {
    /// Opens the alternate screen, and begins to read keys.
    pub(super) fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let (sender, inputs) = mpsc::channel(16);
        std::thread::spawn(move || {
            while !sender.is_closed() {
                let input = match event::poll(KEY_WAIT) {
                    Ok(false) => continue,
                    Ok(true) => event::read().ok().and_then(|event| input(&event)),
                    Err(_) => return,
                };
                if let Some(input) = input
                    && sender.blocking_send(input).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { terminal, inputs })
    }

    pub(super) fn draw(&mut self, view: &View) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame, view)).map(drop)
    }

    /// The next input; `None` if the terminal was closed.
    pub(super) async fn next(&mut self) -> Option<Input> {
        self.inputs.recv().await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn input(event: &Event) -> Option<Input> {
    match event {
        Event::Resize(..) => Some(Input::Resized),
        Event::Key(key) if key.kind != KeyEventKind::Release => key_of(key).map(Input::Key),
        _ => None,
    }
}

fn key_of(key: &KeyEvent) -> Option<Key> {
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('s') => Some(Key::NextOrder),
        KeyCode::Char('r') => Some(Key::Reverse),
        KeyCode::Char('p' | ' ') => Some(Key::Pause),
        KeyCode::Tab => Some(Key::NextTable),
        KeyCode::Down | KeyCode::Char('j') => Some(Key::Down),
        KeyCode::Up | KeyCode::Char('k') => Some(Key::Up),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_actions() {
        let key = |code, modifiers| input(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Some(Input::Key(Key::Quit)));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Input::Key(Key::Quit)));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(input(&Event::Resize(80, 24)), Some(Input::Resized));
    }
}
