//! Gets the bots their tickets: registration and log in, in a few threads, because the server hashes
//! a password for each and that takes its time.

use sidereal_client::account::{AccountApi, AccountError, LoginTicket};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Log ins at the same time. More would only queue at the server, and their tickets grow old.
const THREADS: u32 = 4;

/// Tries for each bot while the server does not answer, one a second: it may just be starting.
const TRIES: u32 = 10;

/// A bot's name.
pub fn bot_name(seed: u64, index: u32) -> String {
    format!("bot-{seed}-{index}")
}

fn bot_password(seed: u64, index: u32) -> String {
    format!("bot {index} of fleet {seed} flies")
}

/// Log ins under way. Dropping it stops them.
pub struct Crew {
    tickets: Receiver<(u32, Result<LoginTicket, AccountError>)>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Starts to log in `count` bots.
    pub fn hire(api: &AccountApi, seed: u64, count: u32) -> Self {
        let (sender, tickets) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicU32::new(0));
        let threads = (0..THREADS.min(count))
            .map(|_| {
                let (api, sender, stop, next) = (api.clone(), sender.clone(), stop.clone(), next.clone());
                std::thread::spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count || stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let ticket = enter(&api, seed, index, &stop);
                        if sender.send((index, ticket)).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        Self { tickets, stop, threads }
    }

    /// The next log in that is done, if one is.
    pub fn next(&self) -> Option<(u32, Result<LoginTicket, AccountError>)> {
        self.tickets.try_recv().ok()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has told so on its own.
            let _ = thread.join();
        }
    }
}

fn enter(api: &AccountApi, seed: u64, index: u32, stop: &AtomicBool) -> Result<LoginTicket, AccountError> {
    let (name, password) = (bot_name(seed, index), bot_password(seed, index));
    let mut tries = 0;
    loop {
        tries += 1;
        // Most runs find their accounts from the last one: logging in first saves a hash.
        let entered = match api.login(&name, &password) {
            Err(AccountError::WrongCredentials(_)) => api.enter(&name, &password, true),
            other => other,
        };
        match entered {
            Err(AccountError::Unreachable { .. }) if tries < TRIES && !stop.load(Ordering::Relaxed) => {
                std::thread::sleep(Duration::from_secs(1));
            }
            other => return other,
        }
    }
}
