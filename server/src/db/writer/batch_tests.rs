use std::collections::BTreeMap;

use diesel::prelude::*;
use proptest::prelude::*;
use uuid::Uuid;

use super::batch::{WriteOutcome, waves};
use super::write_behind::Change;
use crate::db::database::Database;
use crate::db::tables::rows::{EntityRow, Fence, StoredEntity};
use crate::db::tables::schema::entities;

fn change() -> impl Strategy<Value = Change> {
    (0..4_u128, 0..2_i64, 0..2_i64, 0..3_i64, 0..4_i32, any::<bool>()).prop_map(
        |(id, epoch, version, tick, place, deleted)| {
            let id = Uuid::from_u128(id);
            if deleted {
                return Change::Tombstone { id, fence: Fence { epoch, version, tick, deleted } };
            }
            Change::Put(StoredEntity {
                id,
                kind: place as i16,
                owner: (place > 2).then_some(id),
                sector: (place, -place),
                epoch,
                version,
                tick,
                record: vec![place as u8; place as usize],
            })
        },
    )
}

type Stored = BTreeMap<Uuid, (Fence, Option<StoredEntity>)>;

/// The expected effect of a batch, one change after the other; returns how many are rejected.
fn apply(stored: &mut Stored, changes: &[Change]) -> u64 {
    let mut stale = 0;
    for change in changes {
        let (id, entity) = match change {
            Change::Put(entity) => (entity.id, Some(entity.clone())),
            Change::Tombstone { id, .. } => (*id, None),
            _ => continue,
        };
        let fence = change.fence().expect("an entity's change has one");
        if stored.get(&id).is_some_and(|(known, _)| fence < *known) {
            stale += 1;
        } else {
            stored.insert(id, (fence, entity));
        }
    }
    stale
}

fn is_what_one_by_one_gives(database: &Database) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let batches = proptest::collection::vec(proptest::collection::vec(change(), 0..12), 1..5);
    runner
        .run(&batches, |batches| {
            database
                .write_transaction(|conn| {
                    crate::db::backend::conn::with_conn!(conn, |c| diesel::delete(entities::table).execute(c))?;
                    Ok(())
                })
                .expect("emptied");
            let mut expected = Stored::new();
            for batch in &batches {
                let stale = apply(&mut expected, batch);
                prop_assert_eq!(database.write(batch).expect("written"), WriteOutcome { stale });
            }
            for id in (0..4).map(Uuid::from_u128) {
                let found = database.entity_with_fence(id).expect("read");
                prop_assert_eq!(found.as_ref(), expected.get(&id));
            }
            Ok(())
        })
        .expect("every batch");
}

#[test]
fn a_batch_of_sqlite_is_what_its_changes_are_one_by_one() {
    is_what_one_by_one_gives(&Database::open(":memory:").expect("memory is there"));
}

#[test]
fn no_wave_holds_an_entity_twice_and_their_order_is_kept() {
    let fence = |tick| Fence { epoch: 1, version: 1, tick, deleted: true };
    let row = |id, tick| EntityRow::Tombstone(Uuid::from_u128(id), fence(tick));
    let ticks = |wave: &Vec<EntityRow<'_>>| -> Vec<(u128, i64)> {
        wave.iter()
            .map(|row| match row {
                EntityRow::Tombstone(id, fence) => (id.as_u128(), fence.tick),
                EntityRow::State(_) => unreachable!("there is none"),
            })
            .collect()
    };
    let waves = waves(&[row(1, 1), row(2, 2), row(1, 3), row(3, 4), row(1, 5), row(2, 6)]);
    let waves: Vec<_> = waves.iter().map(ticks).collect();
    assert_eq!(waves, [vec![(1, 1), (2, 2), (3, 4)], vec![(1, 3), (2, 6)], vec![(1, 5)]]);
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::db::cluster::PgCluster;

    #[test]
    fn a_batch_of_postgres_is_what_its_changes_are_one_by_one() {
        let Some(cluster) = PgCluster::shared() else { return };
        is_what_one_by_one_gives(&Database::open(&cluster.new_schema()).expect("it opens"));
    }
}
