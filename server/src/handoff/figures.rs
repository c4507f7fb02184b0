//! Times of handoffs.

use std::time::Instant;

/// The times of one handoff at the server.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When its prepare was received.
    pub prepared: Instant,
    /// When its commit was sent.
    pub committed: Option<Instant>,
    /// How long the target took to adopt the entity, microseconds.
    pub waited_us: u32,
}

impl Times {
    /// The handoff's times, when the target has answered.
    pub fn cutover(&self) -> Option<Cutover> {
        let committed = self.committed?;
        let answered_ms = committed.elapsed().as_secs_f64() * 1e3;
        let tick_ms = (f64::from(self.waited_us) / 1e3).min(answered_ms);
        let commit_ms = (committed - self.prepared).as_secs_f64() * 1e3;
        Some(Cutover { commit_ms, ways_ms: answered_ms - tick_ms, tick_ms })
    }
}

/// Parts of a handoff's time, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cutover {
    /// From the prepare's receipt until the commit was sent: zero if the target's accept was not awaited.
    pub commit_ms: f64,
    /// From the commit until the target's answer, without the adoption itself: the round trip.
    pub ways_ms: f64,
    /// From when the target handled the commit until it answered, with its first state of the entity.
    pub tick_ms: f64,
}

impl Cutover {
    /// The sum.
    pub fn total_ms(&self) -> f64 {
        self.commit_ms + self.ways_ms + self.tick_ms
    }
}
