//! `sidereal-server db …`: an operator's tools for a database.

use crate::db::{
    Database, DbError,
    tools::{self, CheckReport},
    unix_ms,
};
use crate::persistence::retention::Retention;
use crate::run::config::{DatabaseUrl, database_url};
use anyhow::{Context, anyhow, bail};
use clap::{Parser, Subcommand};
use sidereal_protocol::record::EntityKind;
use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// Tools for a world's database.
#[derive(Debug, Parser)]
#[command(name = "sidereal-server db")]
pub struct DbTool {
    /// The database: sqlite://FILE, a file's path, or postgres://USER:PASSWORD@HOST/DATABASE (best set in the
    /// environment). The default is DATABASE_URL, or else sqlite://sidereal.sqlite.
    #[arg(long, env = "SIDEREAL_DATABASE_URL", global = true, hide_env_values = true)]
    database_url: Option<DatabaseUrl>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check it: ids, records, fences, accounts, the ledger's sums. Exit status 1 if there are problems.
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a snapshot of it as JSON lines. Password hashes are included, sessions are not.
    Export {
        /// The file; "-" for standard output.
        file: PathBuf,
    },
    /// Fill a new, empty database from an export, completely or not at all.
    Import {
        /// The file; "-" for standard input.
        file: PathBuf,
    },
    /// Give a player back a ship that was set aside. Only while no server runs. The ship that the player has instead
    /// by now is kept, and can be given back in the same way.
    GiveBack {
        /// The ship's id, from the log.
        ship: Uuid,
    },
    /// Remove expired rows: old deals, fences of entities that are long gone, expired sessions; and free pages of a
    /// SQLite file. Not beside a running server, which does so by itself.
    Prune {
        /// How long deals and fences are kept: days (30 or 30d), hours (12h), minutes (90m) or seconds; 0: forever.
        #[arg(long, env = "SIDEREAL_RETENTION", default_value_t = Retention::default())]
        retention: Retention,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show its contents in numbers.
    Stats {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the tool; returns false if a check found problems.
///
/// # Errors
/// One line on what is wrong with the database, the file or the flags.
pub fn run(tool: &DbTool) -> anyhow::Result<bool> {
    let url = database_url(tool.database_url.as_ref());
    let out = &mut std::io::stdout();
    match &tool.action {
        Action::Check { json } => {
            let report = tools::check(&existing(&url)?)?;
            print(out, *json, &report)?;
            Ok(report.is_clean())
        }
        Action::Stats { json } => {
            print(out, *json, &tools::stats(&existing(&url)?)?)?;
            Ok(true)
        }
        Action::Prune { retention, json } => {
            must_exist(&url)?;
            let lock = Database::lock(&url).map_err(|error| match error {
                DbError::InUse { .. } => anyhow!("{error}; a running server removes expired rows by itself"),
                other => other.into(),
            })?;
            let database = Database::open(&url)?.guarded_by(&lock)?;
            let keep_ms = retention.age().map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
            print(out, *json, &database.prune(keep_ms, unix_ms())?)?;
            Ok(true)
        }
        Action::Export { file } => {
            let database = existing(&url)?;
            let rows = if file == Path::new("-") {
                tools::export(&database, &mut BufWriter::new(out))?
            } else {
                export_to(&database, file)?
            };
            eprintln!("{rows} rows exported");
            Ok(true)
        }
        Action::Import { file } => {
            // No server may start to use it before the import is complete.
            let lock = Database::lock(&url)?;
            let database = Database::open(&url)?.guarded_by(&lock)?;
            let rows = if file == Path::new("-") {
                tools::import(&database, &mut std::io::stdin().lock())?
            } else {
                let input = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
                tools::import(&database, &mut BufReader::new(input))?
            };
            eprintln!("{rows} rows imported");
            let report: CheckReport = tools::check(&database)?;
            if !report.is_clean() {
                eprint!("{report}");
            }
            Ok(report.is_clean())
        }
        Action::GiveBack { ship } => {
            existing(&url)?;
            let lock = Database::lock(&url)?;
            let (name, before) = give_back(&Database::open(&url)?.guarded_by(&lock)?, *ship)?;
            match before {
                Some(before) => writeln!(out, "{name} flies {ship} again, and no longer {before}")?,
                None => writeln!(out, "{name} flies {ship} again")?,
            }
            Ok(true)
        }
    }
}

/// Links a ship to the account that owns it. Returns the account's name, and the ship that was linked before.
///
/// # Errors
/// One line that says why it failed.
pub fn give_back(database: &Database, ship: Uuid) -> anyhow::Result<(String, Option<Uuid>)> {
    let Some(row) = database.entity(ship)? else {
        bail!("there is no ship {ship}: see the id in the log line \"set aside\"; a destroyed one is gone");
    };
    let Some(owner) = row.owner.filter(|_| row.kind == i16::from(EntityKind::Ship as u8)) else {
        bail!("{ship} is not a player's ship: other entities are released when the server starts again");
    };
    let account =
        database.account_by_id(owner)?.with_context(|| format!("the owner {owner} of {ship} has no account"))?;
    database.set_ship(owner, ship)?;
    Ok((account.name, account.ship_id.filter(|before| *before != ship)))
}

/// An existing database: reading one must not create it.
fn existing(url: &str) -> anyhow::Result<Database> {
    must_exist(url)?;
    Ok(Database::open(url)?)
}

fn must_exist(url: &str) -> anyhow::Result<()> {
    let path = url.strip_prefix("sqlite://").unwrap_or(url);
    if !url.starts_with("postgres") && !Path::new(path).exists() {
        bail!("there is no database {path}: name one with --database-url");
    }
    Ok(())
}

/// Writes the file completely or not at all.
fn export_to(database: &Database, file: &Path) -> anyhow::Result<u64> {
    let cannot_write = || format!("cannot write {}", file.display());
    let partial = file.with_extension("partial");
    let mut out = BufWriter::new(File::create(&partial).with_context(cannot_write)?);
    let rows = tools::export(database, &mut out)?;
    out.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .with_context(cannot_write)?;
    std::fs::rename(&partial, file).with_context(cannot_write)?;
    Ok(rows)
}

fn print<T: std::fmt::Display + serde::Serialize>(out: &mut dyn Write, json: bool, what: &T) -> anyhow::Result<()> {
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(what)?)?;
    } else {
        write!(out, "{what}")?;
    }
    Ok(())
}
