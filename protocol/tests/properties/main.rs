//! Properties of everything that crosses the wire: round trips, error bounds, and that no bytes from another process
//! make a decoder panic or exceed its limits.
//!
//! Every run tries the same cases. `PROPTEST_CASES=20000 PROPTEST_RNG_SEED=7 cargo test -p
//! sidereal-protocol --test properties` tries others, and more of them.

use proptest::test_runner::{Config, RngSeed};

mod bits;
mod chat;
mod deals;
mod flight;
mod given;
mod hostile_bytes;
mod motion;
mod player_packets;
mod records;
mod sections;
mod space;
mod time;

/// The same cases in every run, and no file of failures beside the sources.
fn repeatable() -> Config {
    let config = Config::default();
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(0x51DE_2EA1),
        chosen => chosen,
    };
    Config { rng_seed, failure_persistence: None, ..config }
}
