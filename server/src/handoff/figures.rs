//! Where the time of handoffs goes.

use std::time::Instant;

/// The moments of one handoff at the server.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Its prepare came.
    pub prepared: Instant,
    /// Its commit left.
    pub committed: Option<Instant>,
    /// What the target waited for its tick, microseconds.
    pub waited_us: u32,
}

impl Times {
    /// Where the time went, when the target's answer is here.
    pub fn cutover(&self) -> Option<Cutover> {
        let committed = self.committed?;
        let answered_ms = committed.elapsed().as_secs_f64() * 1e3;
        let tick_ms = (f64::from(self.waited_us) / 1e3).min(answered_ms);
        let commit_ms = (committed - self.prepared).as_secs_f64() * 1e3;
        Some(Cutover { commit_ms, ways_ms: answered_ms - tick_ms, tick_ms })
    }
}

/// Where the time of one handoff went, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cutover {
    /// From the prepare at the server until the commit left it: zero when the target need not be asked.
    pub commit_ms: f64,
    /// From the commit until the target's answer, without what the target waited: both ways.
    pub ways_ms: f64,
    /// From the commit's arrival at the target until the end of the tick in which it first simulated.
    pub tick_ms: f64,
}

impl Cutover {
    /// All of it.
    pub fn total_ms(&self) -> f64 {
        self.commit_ms + self.ways_ms + self.tick_ms
    }
}
