//! Database errors, each as one line that says what to do.

use thiserror::Error;

/// A failure of the database.
#[derive(Debug, Error)]
pub enum DbError {
    /// The URL has a scheme that this build cannot open. The rest of the URL may hold a password and is left out.
    #[error(
        "databases of the kind \"{scheme}\" are not supported: use --database-url sqlite://FILE, a plain path, :memory:, or postgres://USER@HOST/DATABASE"
    )]
    UnsupportedScheme {
        /// The part before `://`.
        scheme: String,
    },
    /// The URL names a PostgreSQL database, and this build has no PostgreSQL.
    #[error(
        "this build has no PostgreSQL: build sidereal-server with --features postgres (postgres-tls for a server that is reached through a network), or use --database-url sqlite://FILE"
    )]
    NoPostgres,
    /// A malformed PostgreSQL URL. It may hold a password and is left out.
    #[error(
        "the PostgreSQL URL cannot be read ({why}): use --database-url postgres://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    BadPostgresUrl {
        /// What is wrong.
        why: &'static str,
    },
    /// The URL requires TLS, and this build has none.
    #[error(
        "database {database}: sslmode={mode} needs TLS, which this build lacks: build sidereal-server with --features postgres-tls"
    )]
    NoTls {
        /// Host and database.
        database: String,
        /// The `sslmode`.
        mode: String,
    },
    /// The database server is unreachable, or rejects the login.
    #[error(
        "database {database} cannot be used ({why}): check that its server runs, and host, user and password in --database-url"
    )]
    Unreachable {
        /// Host and database.
        database: String,
        /// The server's or the system's message.
        why: String,
    },
    /// The schema contains tables of another program.
    #[error(
        "database {database} holds tables of another program: give Sidereal a schema of its own (docs/OPERATIONS.md) or use another --database-url"
    )]
    ForeignSchema {
        /// Host, database and schema.
        database: String,
    },
    /// Another server has taken the database while this one had lost its connections.
    #[error(
        "another server has taken over the database: no more writes; stop one of the two, and restart this one if it should continue"
    )]
    Overtaken,
    /// A text that not every backend can store.
    #[error("the {what} holds a NUL character: leave it out")]
    NulInText {
        /// Which text.
        what: &'static str,
    },
    /// A text that not every backend can store.
    #[error("the {what} has {bytes} bytes, more than {limit}: use a shorter one")]
    TextTooLong {
        /// Which text.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The greatest length.
        limit: usize,
    },
    /// The URL contains no path, or one with parameters.
    #[error("\"{url}\" names no database file: use --database-url sqlite://FILE, a plain path, or :memory:")]
    NoPath {
        /// The given URL.
        url: String,
    },
    /// The folder of the file does not exist.
    #[error(
        "database {database}: the folder {folder} does not exist: create it or use another file with --database-url"
    )]
    NoFolder {
        /// The file.
        database: String,
        /// Its folder.
        folder: String,
    },
    /// The path is a folder.
    #[error("database {database} is a folder: name a file in it with --database-url")]
    IsFolder {
        /// The path.
        database: String,
    },
    /// The file is not a SQLite database.
    #[error("database {database} is not a SQLite database: use another file with --database-url")]
    NotADatabase {
        /// The file.
        database: String,
    },
    /// The file is a SQLite database of another program.
    #[error("database {database} belongs to another program: use another file with --database-url")]
    Foreign {
        /// The file.
        database: String,
    },
    /// A newer build wrote this database.
    #[error(
        "database {database} is from a newer version of Sidereal (migration {migration}): update the server or use another file with --database-url"
    )]
    Newer {
        /// The file.
        database: String,
        /// The newest migration unknown to this build.
        migration: String,
    },
    /// The file cannot be opened; the system's message says why.
    #[error(
        "database {database} cannot be opened for writing ({why}): check its permissions or use another file with --database-url"
    )]
    CannotOpen {
        /// The file.
        database: String,
        /// The system's message.
        why: String,
    },
    /// The file system lacks a feature that the file needs.
    #[error(
        "database {database} cannot have a write-ahead log there (its journal mode stays {mode}), as on many network shares: put the file on a local disk, or use PostgreSQL"
    )]
    NoWal {
        /// The file.
        database: String,
        /// The mode that SQLite uses there.
        mode: String,
    },
    /// Another process uses it.
    #[error(
        "database {database} is in use by another program: end that one (an earlier run?), or use another file with --database-url"
    )]
    InUse {
        /// The file.
        database: String,
    },
    /// The file is a damaged SQLite database.
    #[error("database {database} is damaged ({why}): restore a backup or use another file with --database-url")]
    Broken {
        /// The file.
        database: String,
        /// The backend's message.
        why: String,
    },
    /// A migration failed; it changed nothing.
    #[error(
        "database {database} could not be migrated to this version ({why}): restore a backup or use another file with --database-url"
    )]
    Migration {
        /// The file.
        database: String,
        /// The backend's message.
        why: String,
    },
    /// No connection was available in time.
    #[error("no database connection within {wait_ms} ms: {why}")]
    Unavailable {
        /// The time waited, milliseconds.
        wait_ms: u64,
        /// The pool's message.
        why: String,
    },
    /// A statement failed.
    #[error("the database refused a statement: {0}")]
    Statement(#[from] diesel::result::Error),
    /// A row contains a value that this build never writes.
    #[error("a stored {what} is damaged: restore a backup of the database")]
    Damaged {
        /// Which value.
        what: &'static str,
    },
    /// The account's name is taken; case is ignored.
    #[error("the name is taken: choose another one")]
    NameTaken,
    /// There is no such account.
    #[error("there is no account {0}")]
    NoAccount(uuid::Uuid),
}
