//! Gets the bots their tickets: registration and login, in a few threads, because the server needs time to hash each
//! password.

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

/// Logins at the same time. More would only queue at the server, and their tickets grow old.
const THREADS: u32 = 4;

/// How long a bot waits in total when the server limits its rate, seconds.
const PATIENCE_S: u64 = 120;

/// Attempts of each bot while the server does not answer, one a second: it may just be starting.
const TRIES: u32 = 10;

/// A bot's name.
pub fn bot_name(seed: u64, index: u32) -> String {
    format!("bot-{seed}-{index}")
}

fn bot_password(seed: u64, index: u32) -> String {
    format!("bot {index} of fleet {seed} flies")
}

/// Pending logins. Dropping it stops them.
pub struct Crew {
    tickets: Receiver<(u32, Result<LoginTicket, AccountError>)>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Starts the logins of `count` bots.
    pub fn hire(api: &AccountApi, seed: u64, count: u32) -> Self {
        let (sender, tickets) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicU32::new(0));
        let are_new = Arc::new(AtomicBool::new(false));
        let threads = (0..THREADS.min(count))
            .map(|_| {
                let (api, sender, stop, next) = (api.clone(), sender.clone(), stop.clone(), next.clone());
                let are_new = are_new.clone();
                std::thread::spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count || stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let ticket = enter(&api, seed, index, &stop, &are_new);
                        if sender.send((index, ticket)).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        Self { tickets, stop, threads }
    }

    /// The next completed login, if there is one.
    pub fn next(&self) -> Option<(u32, Result<LoginTicket, AccountError>)> {
        self.tickets.try_recv().ok()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has reported it itself.
            let _ = thread.join();
        }
    }
}

fn enter(
    api: &AccountApi,
    seed: u64,
    index: u32,
    stop: &AtomicBool,
    are_new: &AtomicBool,
) -> Result<LoginTicket, AccountError> {
    let (name, password) = (bot_name(seed, index), bot_password(seed, index));
    let (mut tries, mut waited_s) = (0, 0);
    loop {
        tries += 1;
        // Most runs reuse the accounts of the last one: logging in first saves a hash. Once one does not exist, the
        // others will not either.
        let entered = match are_new.load(Ordering::Relaxed) {
            true => api.enter(&name, &password, true),
            false => match api.login(&name, &password) {
                Err(AccountError::WrongCredentials(_)) => {
                    are_new.store(true, Ordering::Relaxed);
                    api.enter(&name, &password, true)
                }
                other => other,
            },
        };
        let wait_s = match &entered {
            _ if stop.load(Ordering::Relaxed) => return entered,
            Err(AccountError::Unreachable { .. } | AccountError::Busy(_)) if tries < TRIES => 1,
            Err(AccountError::TooMany { after_s, .. }) if waited_s + after_s <= PATIENCE_S => {
                waited_s += after_s;
                *after_s
            }
            _ => return entered,
        };
        for _ in 0..wait_s {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}
