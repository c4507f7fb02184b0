//! A child's end of the conversation with its parent: lines of the standard input are requests, each is answered with a
//! line of JSON on the standard output.

use anyhow::{Context, Result};
use serde::Serialize;
use std::{
    io::{BufRead, Write},
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
};

/// Requests that wait at most; the parent sends one at a time.
const MAX_WAITING: usize = 16;

/// The parent's requests.
#[derive(Debug)]
pub struct Conversation(Receiver<String>);

impl Conversation {
    /// Starts to read the standard input.
    ///
    /// # Errors
    /// When the system cannot create a thread.
    pub fn start() -> Result<Self> {
        let (sender, requests) = sync_channel(MAX_WAITING);
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || {
                for line in std::io::stdin().lock().lines() {
                    let Ok(line) = line else { return };
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            })
            .context("cannot create a thread")?;
        Ok(Self(requests))
    }

    /// The next request, if there is one; `Err(Over)` once the parent has closed its end.
    ///
    /// # Errors
    /// [`Over`].
    pub fn next(&self) -> Result<Option<String>, Over> {
        match self.0.try_recv() {
            Ok(line) => Ok(Some(line)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Over),
        }
    }
}

/// The parent has closed its end: the child ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over;

/// Writes a line of JSON to the standard output.
///
/// # Errors
/// When the parent does not read any more.
pub fn answer(value: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush().context("the parent does not read")
}
