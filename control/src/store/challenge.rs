//! Answers to challenges of ACME orders that are under way.

use config::id::ChallengeId;
use config::name::HostName;

use super::conn::{Conn, Row, args};
use super::{Error, text};

/// One answer.
#[derive(Debug, Clone)]
pub struct ChallengeRow {
    /// Its id.
    pub id: ChallengeId,
    /// The order that it is of.
    pub order: String,
    /// The name that is looked at.
    pub host: HostName,
    /// The answer.
    pub answer: AnswerRow,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
}

/// An answer by its type.
#[derive(Debug, Clone)]
pub enum AnswerRow {
    /// HTTP-01.
    Http {
        /// Last segment of the path.
        token: String,
        /// Body of the answer.
        key_authorization: String,
    },
    /// TLS-ALPN-01.
    TlsAlpn {
        /// The certificate in DER.
        certificate: Vec<u8>,
        /// Its key, sealed.
        key_sealed: Vec<u8>,
    },
}

const TABLE: &str = "challenges";
const HTTP: &str = "http-01";
const TLS_ALPN: &str = "tls-alpn-01";

macro_rules! columns {
    () => {
        "SELECT id, order_id, host, kind, token, answer, key_sealed, created_at FROM challenges"
    };
}

fn read(row: &Row) -> Result<ChallengeRow, Error> {
    let answer = match row.text("kind")?.as_str() {
        HTTP => AnswerRow::Http { token: row.text("token")?, key_authorization: row.text("answer")? },
        TLS_ALPN => AnswerRow::TlsAlpn {
            certificate: text::parsed(row, TABLE, "answer", text::unbase64)?,
            key_sealed: text::parsed(row, TABLE, "key_sealed", text::unbase64)?,
        },
        other => {
            let (id, why) = (row.text("id")?, format!("{other:?} is no kind of challenge"));
            return Err(Error::Damaged { table: TABLE, id, why });
        }
    };
    Ok(ChallengeRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        order: row.text("order_id")?,
        host: text::parsed(row, TABLE, "host", HostName::parse)?,
        answer,
        created_at: row.int("created_at")?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, challenge: &ChallengeRow) -> Result<(), Error> {
    let sql = "INSERT INTO challenges (id, order_id, host, kind, token, answer, key_sealed, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let (kind, token, answer, key) = match &challenge.answer {
        AnswerRow::Http { token, key_authorization } => {
            (HTTP, token.as_str(), key_authorization.clone(), None)
        }
        AnswerRow::TlsAlpn { certificate, key_sealed } => {
            (TLS_ALPN, "", text::base64(certificate), Some(text::base64(key_sealed)))
        }
    };
    let args = args![
        challenge.id.to_string(),
        &challenge.order,
        challenge.host.to_string(),
        kind,
        token,
        answer,
        key,
        challenge.created_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Forgets those of an order.
pub async fn delete_of(conn: &mut Conn, order: &str) -> Result<(), Error> {
    conn.run("DELETE FROM challenges WHERE order_id = $1", &args![order]).await.map(drop)
}

/// Those of an order.
pub async fn of_order(conn: &mut Conn, order: &str) -> Result<Vec<ChallengeRow>, Error> {
    let sql = concat!(columns!(), " WHERE order_id = $1 ORDER BY id LIMIT 1000");
    conn.rows(sql, &args![order]).await?.iter().map(read).collect()
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: ChallengeId) -> Result<Option<ChallengeRow>, Error> {
    let row = conn.row(concat!(columns!(), " WHERE id = $1"), &args![id.to_string()]).await?;
    row.map(|row| read(&row)).transpose()
}

/// All of them, in the order of ids: those of the orders under way.
pub async fn all(conn: &mut Conn) -> Result<Vec<ChallengeRow>, Error> {
    conn.rows(concat!(columns!(), " ORDER BY id"), &[]).await?.iter().map(read).collect()
}

/// Orders that have answers and are not under way: control was killed before it withdrew them.
pub async fn left_behind(conn: &mut Conn) -> Result<Vec<String>, Error> {
    let sql = "SELECT DISTINCT order_id AS id FROM challenges WHERE order_id NOT IN \
               (SELECT id FROM acme_orders WHERE finished_at IS NULL) LIMIT 1000";
    conn.rows(sql, &[]).await?.iter().map(|row| row.text("id")).collect()
}
