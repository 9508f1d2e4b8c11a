//! What only a file can have: rights, a directory, a copy before a migration.

use std::os::unix::fs::PermissionsExt as _;

use config::settings::Database;
use control::store::{Db, OpenError, meta};

use crate::engines::{Engine, Place};

#[tokio::test]
async fn the_database_is_for_its_owner_alone() {
    let place = Place::new(&Engine::Sqlite).await;
    let db = place.open().await;
    let mut conn = db.write().await.unwrap();
    meta::next_generation(&mut conn).await.unwrap();
    conn.commit().await.unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(place.directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
        seen += 1;
    }
    assert!(seen >= 2, "the file and its log");
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_is_named() {
    let place = Place::new(&Engine::Sqlite).await;
    let missing = place.directory.path().join("not-there");
    let file = Database::Sqlite(missing.join("database.db"));
    let error = Db::open(&file, &missing).await.unwrap_err();
    assert!(matches!(error, OpenError::Directory { .. }), "{error:?}");
    assert!(error.to_string().contains("not-there"), "{error}");

    let no_database = place.directory.path().join("database.db");
    std::fs::write(&no_database, "this is a text of more than sixteen bytes").unwrap();
    let error = place.try_open().await.unwrap_err();
    assert!(error.to_string().contains("database.db"), "{error}");
    assert_eq!(std::fs::read(&no_database).unwrap(), b"this is a text of more than sixteen bytes");
}

#[tokio::test]
async fn a_copy_is_made_before_an_existing_database_is_migrated() {
    let place = Place::new(&Engine::Sqlite).await;
    let db = place.open().await;
    let lineage = meta::read(&mut db.read().await.unwrap()).await.unwrap().lineage;
    assert!(!place.directory.path().join("backups").exists(), "a new database needs none");
    // As the first version left it.
    let mut conn = db.write().await.unwrap();
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('meta', 'schema_steps')";
    for row in conn.rows(sql, &[]).await.unwrap() {
        let name = row.text("name").unwrap();
        conn.run(format!("DROP TABLE {name}").leak(), &[]).await.unwrap();
    }
    for statement in include_str!("../../migrations/0001_spine.sql").split(";\n") {
        if !statement.contains("CREATE TABLE meta") && !statement.trim().is_empty() {
            conn.run(statement, &[]).await.unwrap();
        }
    }
    conn.run("DELETE FROM schema_steps WHERE step > 1", &[]).await.unwrap();
    conn.commit().await.unwrap();
    db.close().await;

    let db = place.open().await;

    let mut conn = db.read().await.unwrap();
    conn.rows("SELECT name FROM internal_keys", &[]).await.unwrap();
    let copies: Vec<_> = std::fs::read_dir(place.directory.path().join("backups")).unwrap().collect();
    let [Ok(copy)] = &copies[..] else { panic!("one copy: {copies:?}") };
    let name = copy.file_name().into_string().unwrap();
    assert!(
        name.starts_with("database_")
            && name.ends_with(".db")
            && name.len() == "database_20260101_000000.db".len()
    );
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // In a folder of its own: its migration is copied aside as well.
    let other = tempfile::tempdir().unwrap();
    let copied = Db::open(&Database::Sqlite(copy.path()), other.path()).await.unwrap();
    assert_eq!(meta::read(&mut copied.read().await.unwrap()).await.unwrap().lineage, lineage);
}
