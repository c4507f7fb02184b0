use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::database::Database;
use super::*;

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

/// What the batch does, one change after the other; tells how many lost.
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
                    super::super::conn::with_conn!(conn, |c| diesel::delete(entities::table).execute(c))?;
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

// MEASURE
#[cfg(feature = "postgres")]
mod measure {
    use super::*;
    use crate::db::cluster::PgCluster;
    use crate::db::postgres;
    use diesel::connection::SimpleConnection;
    use std::time::Instant;

    diesel::table! {
        staging (id) {
            id -> Binary,
            kind -> SmallInt,
            owner -> Nullable<Binary>,
            sector_x -> Integer,
            sector_y -> Integer,
            epoch -> BigInt,
            version -> BigInt,
            tick -> BigInt,
            record -> Binary,
            deleted -> Bool,
            updated_at -> BigInt,
        }
    }

    fn copy(conn: &mut diesel::PgConnection, rows: &[StoredEntity]) -> QueryResult<usize> {
        conn.batch_execute("CREATE TEMP TABLE IF NOT EXISTS staging (LIKE entities) ON COMMIT DELETE ROWS")?;
        let values: Vec<_> = rows
            .iter()
            .map(|e| {
                (
                    staging::id.eq(e.id.as_bytes().as_slice()),
                    staging::kind.eq(e.kind),
                    staging::owner.eq(e.owner.as_ref().map(|o| o.as_bytes().as_slice())),
                    staging::sector_x.eq(e.sector.0),
                    staging::sector_y.eq(e.sector.1),
                    staging::epoch.eq(e.epoch),
                    staging::version.eq(e.version),
                    staging::tick.eq(e.tick),
                    staging::record.eq(e.record.as_slice()),
                    staging::deleted.eq(false),
                    staging::updated_at.eq(0_i64),
                )
            })
            .collect();
        diesel::copy_from(staging::table).from_insertable(&values).execute(conn)?;
        diesel::sql_query(
            "INSERT INTO entities SELECT * FROM staging ORDER BY id ON CONFLICT (id) DO UPDATE SET \
            kind = CASE WHEN excluded.deleted THEN entities.kind ELSE excluded.kind END, \
            owner = CASE WHEN excluded.deleted THEN entities.owner ELSE excluded.owner END, \
            sector_x = CASE WHEN excluded.deleted THEN entities.sector_x ELSE excluded.sector_x END, \
            sector_y = CASE WHEN excluded.deleted THEN entities.sector_y ELSE excluded.sector_y END, \
            epoch = excluded.epoch, version = excluded.version, tick = excluded.tick, record = excluded.record, \
            deleted = excluded.deleted, updated_at = excluded.updated_at \
            WHERE (excluded.epoch, excluded.version, excluded.tick, excluded.deleted) \
            >= (entities.epoch, entities.version, entities.tick, entities.deleted)",
        )
        .execute(conn)
    }

    fn multi(conn: &mut SqliteConnection, rows: &[StoredEntity]) -> QueryResult<usize> {
        use diesel::sql_types::*;
        let mut n = 0;
        for rows in rows.chunks(500) {
            let sql = format!(
                "INSERT INTO entities (id, kind, owner, sector_x, sector_y, epoch, version, tick, record, deleted, updated_at) VALUES {} \
             ON CONFLICT (id) DO UPDATE SET \
            kind = CASE WHEN excluded.deleted THEN kind ELSE excluded.kind END, \
            owner = CASE WHEN excluded.deleted THEN owner ELSE excluded.owner END, \
            sector_x = CASE WHEN excluded.deleted THEN sector_x ELSE excluded.sector_x END, \
            sector_y = CASE WHEN excluded.deleted THEN sector_y ELSE excluded.sector_y END, \
            epoch = excluded.epoch, version = excluded.version, tick = excluded.tick, record = excluded.record, \
            deleted = excluded.deleted, updated_at = excluded.updated_at \
            WHERE (excluded.epoch, excluded.version, excluded.tick, excluded.deleted) \
            >= (entities.epoch, entities.version, entities.tick, entities.deleted)",
                vec!["(?,?,?,?,?,?,?,?,?,?,?)"; rows.len()].join(",")
            );
            let mut query = diesel::sql_query(sql).into_boxed::<diesel::sqlite::Sqlite>();
            for e in rows {
                query = query
                    .bind::<Binary, _>(e.id.as_bytes().as_slice())
                    .bind::<SmallInt, _>(e.kind)
                    .bind::<Nullable<Binary>, _>(e.owner.as_ref().map(|o| o.as_bytes().as_slice()))
                    .bind::<Integer, _>(e.sector.0)
                    .bind::<Integer, _>(e.sector.1)
                    .bind::<BigInt, _>(e.epoch)
                    .bind::<BigInt, _>(e.version)
                    .bind::<BigInt, _>(e.tick)
                    .bind::<Binary, _>(e.record.as_slice())
                    .bind::<Bool, _>(false)
                    .bind::<BigInt, _>(0_i64);
            }
            n += query.execute(conn)?;
        }
        Ok(n)
    }

    #[test]
    #[ignore]
    fn measure() {
        let cluster = PgCluster::start_durable().expect("pg");
        let folder = tempfile::tempdir().expect("f");
        let path = folder.path().join("w.sqlite");
        let pg = Database::open(&cluster.new_schema()).expect("pg");
        let lite = Database::open(path.to_str().expect("p")).expect("lite");
        let n = 20_000_u128;
        let rows = |version: i64| -> Vec<StoredEntity> {
            let mut all = Vec::new();
            for i in 0.. {
                for r in crate::worldgen::sector_records(
                    1,
                    sidereal_protocol::sector::SectorId::new(i % 64, i / 64),
                    sidereal_protocol::tick::SimTick(1),
                ) {
                    all.push(StoredEntity {
                        id: r.id.0,
                        kind: r.kind as i16,
                        owner: None,
                        sector: (r.sector.x, r.sector.y),
                        epoch: 1,
                        version,
                        tick: version,
                        record: r.encode().expect("e"),
                    });
                }
                if all.len() as u128 >= n {
                    break;
                }
            }
            all.truncate(n as usize);
            all
        };
        let mut version = 0;
        for size in [100, 500, 2000, 100, 500, 2000] {
            for way in ["pg single", "pg unnest", "pg copy", "sqlite single", "sqlite multi"] {
                version += 1;
                let rows = rows(version);
                let rows = if way == "pg single" { &rows[..4000] } else { &rows[..] };
                let begun = Instant::now();
                for batch in rows.chunks(size) {
                    let database = if way.starts_with("pg") { &pg } else { &lite };
                    let n = database
                        .write_transaction(|conn| {
                            Ok(match conn {
                                Conn::Postgres(c) if way == "pg copy" => copy(c, batch)?,
                                Conn::Postgres(c) if way == "pg single" => {
                                    let mut n = 0;
                                    for e in batch {
                                        n += postgres::write_entities(c, &[EntityRow::State(e)], 0)?;
                                    }
                                    n
                                }
                                Conn::Postgres(c) => {
                                    let rows: Vec<_> = batch.iter().map(EntityRow::State).collect();
                                    postgres::write_entities(c, &rows, 0)?
                                }
                                Conn::Sqlite(c) if way == "sqlite multi" => multi(c, batch)?,
                                conn => {
                                    let rows: Vec<_> = batch.iter().map(EntityRow::State).collect();
                                    write_entities(conn, &rows, 0)?
                                }
                            })
                        })
                        .expect("written");
                    assert_eq!(n, batch.len());
                }
                let s = begun.elapsed().as_secs_f64();
                println!("{way:14} batch {size:5}: {:9.0} rows/s", rows.len() as f64 / s);
            }
        }
    }
}
