//! One connection, either engine: the same text, the same arguments, the same rows.

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Executor, Postgres, Row as _, Sqlite, Transaction};

use super::Error;

/// A value bound to `$1` … `$n`.
#[derive(Debug, Clone)]
pub enum Arg {
    /// TEXT.
    Text(Option<String>),
    /// BIGINT.
    Int(Option<i64>),
    /// BOOLEAN.
    Bool(bool),
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}
impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}
impl From<&String> for Arg {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}
impl From<Option<String>> for Arg {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}
impl From<Option<&str>> for Arg {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(Into::into))
    }
}
impl From<i64> for Arg {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}
impl From<Option<i64>> for Arg {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}
impl From<bool> for Arg {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

/// `args![a, b]`: the arguments of one query.
macro_rules! args {
    ($($value:expr),* $(,)?) => { [$($crate::store::Arg::from($value)),*] };
}
pub(crate) use args;

/// One row of an answer; columns are read by name.
pub enum Row {
    /// From SQLite.
    Sqlite(sqlx::sqlite::SqliteRow),
    /// From PostgreSQL.
    Postgres(sqlx::postgres::PgRow),
}

macro_rules! column {
    ($(#[$doc:meta])* $name:ident, $type:ty) => {
        $(#[$doc])*
        pub fn $name(&self, column: &str) -> Result<$type, Error> {
            Ok(match self {
                Self::Sqlite(row) => row.try_get(column)?,
                Self::Postgres(row) => row.try_get(column)?,
            })
        }
    };
}

impl Row {
    column!(/// A TEXT column that is never null.
        text, String);
    column!(/// A TEXT column.
        text_or, Option<String>);
    column!(/// A BIGINT column that is never null.
        int, i64);
    column!(/// A BIGINT column.
        int_or, Option<i64>);
    column!(/// A BOOLEAN column.
        bool, bool);
}

impl std::fmt::Debug for Row {
    // A row may hold a sealed key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Row(..)")
    }
}

/// A reader, or the writing transaction.
pub struct Conn(Inner);

enum Inner {
    Sqlite(PoolConnection<Sqlite>),
    SqliteWrite(Transaction<'static, Sqlite>),
    Postgres(PoolConnection<Postgres>),
    PostgresWrite(Transaction<'static, Postgres>),
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Conn(..)")
    }
}

/// Binds the arguments in order; a macro because the two engines share no type here.
macro_rules! bound {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql));
        for arg in $args {
            query = match arg {
                Arg::Text(text) => query.bind(text.clone()),
                Arg::Int(number) => query.bind(*number),
                Arg::Bool(truth) => query.bind(*truth),
            };
        }
        query
    }};
}

impl Conn {
    pub(super) fn sqlite(conn: PoolConnection<Sqlite>) -> Self {
        Self(Inner::Sqlite(conn))
    }
    pub(super) fn sqlite_write(tx: Transaction<'static, Sqlite>) -> Self {
        Self(Inner::SqliteWrite(tx))
    }
    pub(super) fn postgres(conn: PoolConnection<Postgres>) -> Self {
        Self(Inner::Postgres(conn))
    }
    pub(super) fn postgres_write(tx: Transaction<'static, Postgres>) -> Self {
        Self(Inner::PostgresWrite(tx))
    }

    /// Runs a statement; gives the number of rows it touched.
    ///
    /// `sql` is one of the texts of this crate; values go into `args` only.
    pub async fn run(&mut self, sql: &'static str, args: &[Arg]) -> Result<u64, Error> {
        Ok(match &mut self.0 {
            Inner::Sqlite(conn) => bound!(sql, args).execute(&mut **conn).await?.rows_affected(),
            Inner::SqliteWrite(tx) => bound!(sql, args).execute(&mut **tx).await?.rows_affected(),
            Inner::Postgres(conn) => bound!(sql, args).execute(&mut **conn).await?.rows_affected(),
            Inner::PostgresWrite(tx) => bound!(sql, args).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// Runs a query; gives its rows. The query bounds their number.
    pub async fn rows(&mut self, sql: &'static str, args: &[Arg]) -> Result<Vec<Row>, Error> {
        Ok(match &mut self.0 {
            Inner::Sqlite(conn) => sqlite_rows(bound!(sql, args).fetch_all(&mut **conn).await?),
            Inner::SqliteWrite(tx) => sqlite_rows(bound!(sql, args).fetch_all(&mut **tx).await?),
            Inner::Postgres(conn) => postgres_rows(bound!(sql, args).fetch_all(&mut **conn).await?),
            Inner::PostgresWrite(tx) => postgres_rows(bound!(sql, args).fetch_all(&mut **tx).await?),
        })
    }

    /// Runs a query that [`super::select::Select`] put together from texts of this crate.
    pub(super) async fn select(&mut self, sql: String, args: &[Arg]) -> Result<Vec<Row>, Error> {
        Ok(match &mut self.0 {
            Inner::Sqlite(conn) => sqlite_rows(bound!(sql, args).fetch_all(&mut **conn).await?),
            Inner::SqliteWrite(tx) => sqlite_rows(bound!(sql, args).fetch_all(&mut **tx).await?),
            Inner::Postgres(conn) => postgres_rows(bound!(sql, args).fetch_all(&mut **conn).await?),
            Inner::PostgresWrite(tx) => postgres_rows(bound!(sql, args).fetch_all(&mut **tx).await?),
        })
    }

    /// Runs a query that has at most one row.
    pub async fn row(&mut self, sql: &'static str, args: &[Arg]) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// Runs several statements without arguments: a migration.
    pub(super) async fn script(&mut self, sql: &'static str) -> Result<(), Error> {
        match &mut self.0 {
            Inner::Sqlite(conn) => conn.execute(sqlx::raw_sql(sql)).await.map(drop)?,
            Inner::SqliteWrite(tx) => tx.execute(sqlx::raw_sql(sql)).await.map(drop)?,
            Inner::Postgres(conn) => conn.execute(sqlx::raw_sql(sql)).await.map(drop)?,
            Inner::PostgresWrite(tx) => tx.execute(sqlx::raw_sql(sql)).await.map(drop)?,
        }
        Ok(())
    }

    /// Makes the transaction's work durable and visible. A reader has nothing to commit.
    pub async fn commit(self) -> Result<(), Error> {
        match self.0 {
            Inner::Sqlite(_) | Inner::Postgres(_) => Ok(()),
            Inner::SqliteWrite(tx) => Ok(tx.commit().await?),
            Inner::PostgresWrite(tx) => Ok(tx.commit().await?),
        }
    }
}

fn sqlite_rows(rows: Vec<sqlx::sqlite::SqliteRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Sqlite).collect()
}

fn postgres_rows(rows: Vec<sqlx::postgres::PgRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Postgres).collect()
}
