//! An operator's database tools: check it, move it, show its contents.
//!
//! Behind `sidereal-server db …`. All of them read a snapshot of the database and hold one page of it at a time. None
//! needs the server, and all but the import may run beside one.
//! none of it needs the server, and all but the import may run beside one.

/// Reads the rows of a query one at a time, on either backend: `for_each_row!(conn, query, |row: Row| { ... })`.
macro_rules! for_each_row {
    ($conn:expr, $query:expr, |$row:ident: $type:ty| $body:block) => {
        match &mut *$conn {
            $crate::db::backend::conn::Conn::Sqlite(conn) => {
                let rows = $query.load_iter::<$type, diesel::connection::DefaultLoadingMode>(&mut **conn)?;
                for row in rows {
                    let $row: $type = row?;
                    $body
                }
            }
            #[cfg(feature = "postgres")]
            $crate::db::backend::conn::Conn::Postgres(conn) => {
                let rows = $query.load_iter::<$type, diesel::pg::PgRowByRowLoadingMode>(&mut **conn)?;
                for row in rows {
                    let $row: $type = row?;
                    $body
                }
            }
        }
    };
}

mod check;
mod dump;
mod rows;
mod stats;

pub use check::{CheckReport, check};
pub use dump::{DumpError, export, import};
pub use stats::{DatabaseStats, stats};
