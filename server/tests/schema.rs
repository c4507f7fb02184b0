//! The migrations of both backends, read back from real databases: they make the same schema, and each can be
//! reverted.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use diesel::Connection;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Nullable, Text};
use diesel::sqlite::SqliteConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

const SQLITE: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");

/// A schema in terms of neither backend.
#[derive(Debug, Default, PartialEq, Eq)]
struct Schema {
    tables: BTreeMap<String, Table>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    /// Type, whether it may be null, and its default, by name and in order.
    columns: Vec<(String, Column)>,
    primary_key: Vec<String>,
    /// Constraints in the table itself, which have no names in common.
    unique: BTreeSet<Vec<String>>,
    /// Definitions by name: unique or not, expressions, condition.
    indexes: BTreeMap<String, (bool, String)>,
    /// Own column, table, its column, on delete.
    foreign_keys: BTreeSet<(String, String, String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Column {
    kind: &'static str,
    nullable: bool,
    default: Option<String>,
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct ColumnRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Bool)]
    nullable: bool,
    #[diesel(sql_type = Nullable<Text>)]
    default: Option<String>,
    /// The position in the primary key from 1, or 0.
    #[diesel(sql_type = Integer)]
    key: i32,
}

#[derive(QueryableByName)]
struct IndexRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_unique: bool,
    /// `None` for a constraint in the table.
    #[diesel(sql_type = Nullable<Text>)]
    sql: Option<String>,
}

#[derive(QueryableByName)]
struct ForeignKeyRow {
    #[diesel(sql_type = Text)]
    column: String,
    #[diesel(sql_type = Text)]
    to_table: String,
    #[diesel(sql_type = Text)]
    to_column: String,
    #[diesel(sql_type = Text)]
    on_delete: String,
}

fn kind(name: &str) -> &'static str {
    match name.to_ascii_lowercase().as_str() {
        "blob" | "bytea" => "bytes",
        "smallint" => "16 bits",
        "integer" => "32 bits",
        "bigint" => "64 bits",
        "text" => "text",
        "boolean" => "truth",
        other => panic!("{other} is not a known common type of the backends"),
    }
}

/// SQL without the backends' differences: case, parentheses, quotes, casts, spaces.
fn plain(sql: &str) -> String {
    let mut text = String::new();
    for word in sql.to_ascii_lowercase().replace(['(', ')', '"', '\n', '\t'], " ").split([' ', ',']) {
        let word = word.split("::").next().unwrap_or_default();
        if !word.is_empty() {
            text.push_str(word);
            text.push(' ');
        }
    }
    text
}

/// The part of a `CREATE INDEX` after its table.
fn index_definition(sql: &str) -> String {
    plain(&sql[sql.find('(').expect("an index has columns")..])
}

fn table(columns: Vec<ColumnRow>) -> Table {
    let mut key: Vec<(i32, String)> =
        columns.iter().filter(|column| column.key > 0).map(|column| (column.key, column.name.clone())).collect();
    key.sort();
    Table {
        primary_key: key.into_iter().map(|(_, name)| name).collect(),
        columns: columns
            .into_iter()
            .map(|column| {
                let default = column.default.map(|default| plain(&default));
                (column.name, Column { kind: kind(&column.kind), nullable: column.nullable, default })
            })
            .collect(),
        ..Table::default()
    }
}

fn foreign_keys(rows: Vec<ForeignKeyRow>) -> BTreeSet<(String, String, String, String)> {
    rows.into_iter().map(|row| (row.column, row.to_table, row.to_column, row.on_delete)).collect()
}

fn sqlite_schema(conn: &mut SqliteConnection) -> Schema {
    let names: Vec<Name> = diesel::sql_query(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_\\_diesel%' ESCAPE '\\'",
    )
    .load(conn)
    .expect("tables");
    let mut schema = Schema::default();
    for Name { name } in names {
        let columns = diesel::sql_query(format!(
            "SELECT name, type AS kind, \"notnull\" = 0 AS nullable, dflt_value AS \"default\", pk AS key \
             FROM pragma_table_info('{name}') ORDER BY cid"
        ));
        let mut table = table(columns.load(conn).expect("columns"));
        let indexes: Vec<IndexRow> = diesel::sql_query(format!(
            "SELECT l.name, l.\"unique\" AS is_unique, m.sql FROM pragma_index_list('{name}') l \
             JOIN sqlite_master m ON m.name = l.name WHERE l.origin <> 'pk'"
        ))
        .load(conn)
        .expect("indexes");
        for index in indexes {
            match index.sql {
                Some(sql) => {
                    table.indexes.insert(index.name, (index.is_unique, index_definition(&sql)));
                }
                None => {
                    let columns: Vec<Name> = diesel::sql_query(format!(
                        "SELECT name FROM pragma_index_info('{}') ORDER BY seqno",
                        index.name
                    ))
                    .load(conn)
                    .expect("columns");
                    table.unique.insert(columns.into_iter().map(|column| column.name).collect());
                }
            }
        }
        let keys = diesel::sql_query(format!(
            "SELECT \"from\" AS \"column\", \"table\" AS to_table, \
             coalesce(\"to\", (SELECT name FROM pragma_table_info(\"table\") WHERE pk = seq + 1)) AS to_column, \
             on_delete FROM pragma_foreign_key_list('{name}')"
        ));
        table.foreign_keys = foreign_keys(keys.load(conn).expect("foreign keys"));
        schema.tables.insert(name, table);
    }
    schema
}

fn folder(backend: &str) -> Vec<String> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations")).join(backend);
    let mut names: Vec<String> = std::fs::read_dir(&root)
        .expect("the folder of the migrations")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("a plain name"))
        .collect();
    names.sort();
    for name in &names {
        for file in ["up.sql", "down.sql"] {
            assert!(root.join(name).join(file).is_file(), "{backend}/{name} has no {file}");
        }
    }
    names
}

/// Up step by step, down again, and up again: after each step the schema is the one of that step.
fn redo<C: MigrationHarness<DB>, DB: diesel::backend::Backend>(
    conn: &mut C,
    migrations: fn() -> EmbeddedMigrations,
    count: usize,
    read: fn(&mut C) -> Schema,
) -> Schema {
    let mut steps = vec![read(conn)];
    assert_eq!(steps[0], Schema::default(), "it is empty at first");
    for _ in 0..count {
        conn.run_next_migration(migrations()).expect("up");
        steps.push(read(conn));
    }
    assert!(!conn.has_pending_migration(migrations()).expect("readable"), "touch server/tests/schema.rs");
    for step in steps[..count].iter().rev() {
        conn.revert_last_migration(migrations()).expect("down");
        assert_eq!(&read(conn), step);
    }
    conn.run_pending_migrations(migrations()).expect("up again");
    assert_eq!(Some(&read(conn)), steps.last());
    steps.pop().expect("there is a first one")
}

#[test]
fn both_backends_have_the_same_migrations() {
    assert_eq!(folder("sqlite"), folder("postgres"));
    assert!(!folder("sqlite").is_empty());
}

#[test]
fn every_migration_of_sqlite_can_be_undone_and_done_again() {
    let mut conn = SqliteConnection::establish(":memory:").expect("memory is there");
    let schema = redo(&mut conn, || SQLITE, folder("sqlite").len(), sqlite_schema);
    let entities = &schema.tables["entities"];
    assert_eq!(entities.primary_key, ["id"]);
    assert_eq!(
        entities.indexes["entities_by_sector"],
        (false, "sector_x sector_y where not deleted and owner is null ".to_owned()),
        "what is compared is really read"
    );
    assert_eq!(schema.tables["accounts"].indexes["accounts_by_name"], (true, "lower name ".to_owned()));
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use diesel::pg::PgConnection;
    use diesel::sql_types::Array;

    const POSTGRES: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

    #[derive(QueryableByName)]
    struct Constraint {
        #[diesel(sql_type = Array<Text>)]
        columns: Vec<String>,
    }

    fn postgres_schema(conn: &mut PgConnection) -> Schema {
        let names: Vec<Name> = diesel::sql_query(
            "SELECT relname::text AS name FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
             AND relkind = 'r' AND NOT starts_with(relname, '__diesel')",
        )
        .load(conn)
        .expect("tables");
        let mut schema = Schema::default();
        for Name { name } in names {
            let columns = diesel::sql_query(format!(
                "SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS kind, \
                 NOT a.attnotnull AS nullable, pg_get_expr(d.adbin, d.adrelid) AS \"default\", \
                 coalesce(array_position(i.indkey::int2[], a.attnum) + 1, 0)::int4 AS key \
                 FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
                 LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary \
                 WHERE a.attrelid = '{name}'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
            ));
            let mut table = table(columns.load(conn).expect("columns"));
            let indexes: Vec<IndexRow> = diesel::sql_query(format!(
                "SELECT c.relname::text AS name, i.indisunique AS is_unique, pg_get_indexdef(i.indexrelid) AS sql \
                 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = '{name}'::regclass \
                 AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))"
            ))
            .load(conn)
            .expect("indexes");
            for index in indexes {
                let sql = index.sql.expect("PostgreSQL has all of them");
                table.indexes.insert(index.name, (index.is_unique, index_definition(&sql)));
            }
            let unique: Vec<Constraint> = diesel::sql_query(format!(
                "SELECT array_agg(a.attname::text ORDER BY k.at) AS columns FROM pg_constraint c, \
                 unnest(c.conkey) WITH ORDINALITY AS k(attnum, at), pg_attribute a \
                 WHERE c.conrelid = '{name}'::regclass AND c.contype = 'u' AND a.attrelid = c.conrelid \
                 AND a.attnum = k.attnum GROUP BY c.oid"
            ))
            .load(conn)
            .expect("constraints");
            table.unique = unique.into_iter().map(|constraint| constraint.columns).collect();
            let keys = diesel::sql_query(format!(
                "SELECT a.attname::text AS \"column\", t.relname::text AS to_table, b.attname::text AS to_column, \
                 CASE c.confdeltype WHEN 'a' THEN 'NO ACTION' WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE' \
                 WHEN 'n' THEN 'SET NULL' ELSE 'SET DEFAULT' END AS on_delete \
                 FROM pg_constraint c JOIN pg_class t ON t.oid = c.confrelid, \
                 unnest(c.conkey, c.confkey) AS k(own, other), pg_attribute a, pg_attribute b \
                 WHERE c.conrelid = '{name}'::regclass AND c.contype = 'f' AND a.attrelid = c.conrelid \
                 AND a.attnum = k.own AND b.attrelid = c.confrelid AND b.attnum = k.other"
            ));
            table.foreign_keys = foreign_keys(keys.load(conn).expect("foreign keys"));
            schema.tables.insert(name, table);
        }
        schema
    }

    #[test]
    fn every_migration_of_postgres_can_be_undone_and_done_again_and_makes_what_sqlites_make() {
        let Some(world) = common::World::postgres() else { return };
        let mut conn = PgConnection::establish(world.url()).expect("the server answers");
        let postgres = redo(&mut conn, || POSTGRES, folder("postgres").len(), postgres_schema);
        let mut conn = SqliteConnection::establish(":memory:").expect("memory is there");
        conn.run_pending_migrations(SQLITE).expect("up");
        assert_eq!(postgres, sqlite_schema(&mut conn));
    }

    /// The read schemas differ if the real ones do: one difference of each kind.
    #[test]
    fn a_difference_between_the_schemas_is_seen() {
        let Some(world) = common::World::postgres() else { return };
        let mut postgres = PgConnection::establish(world.url()).expect("the server answers");
        let mut sqlite = SqliteConnection::establish(":memory:").expect("memory is there");
        let base = "CREATE TABLE o (id INTEGER NOT NULL PRIMARY KEY);";
        let same = "CREATE TABLE t (a INTEGER NOT NULL PRIMARY KEY, b TEXT UNIQUE, c INTEGER REFERENCES o (id) ON DELETE CASCADE, \
                    d BOOLEAN NOT NULL DEFAULT FALSE); CREATE INDEX i ON t (b, c) WHERE c IS NULL;";
        let mut reset = |sql: &str| {
            use diesel::connection::SimpleConnection;
            postgres.batch_execute(&format!("DROP TABLE IF EXISTS t, o; {base} {sql}")).expect(sql);
            postgres_schema(&mut postgres)
        };
        diesel::connection::SimpleConnection::batch_execute(&mut sqlite, &format!("{base} {same}")).expect("made");
        let expected = sqlite_schema(&mut sqlite);
        assert_eq!(reset(same), expected);
        for (from, to) in [
            ("b TEXT", "b BIGINT"),
            ("d BOOLEAN NOT NULL", "d BOOLEAN"),
            (" DEFAULT FALSE", ""),
            (" PRIMARY KEY", ""),
            (" UNIQUE", ""),
            (" ON DELETE CASCADE", ""),
            ("(b, c)", "(c, b)"),
            (" WHERE c IS NULL", ""),
            ("CREATE INDEX", "CREATE UNIQUE INDEX"),
        ] {
            assert!(same.contains(from));
            assert_ne!(reset(&same.replacen(from, to, 1)), expected, "{from}");
        }
    }
}
