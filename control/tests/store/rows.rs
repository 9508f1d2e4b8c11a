//! Cases about rows: transactions, uniqueness, lists, types.

use config::id::VmId;
use config::name::{Namespace, NetworkName, VmName};
use config::snapshot::{Generation, Kind, ObjectKey};
use control::store::vm::{Filter, VmRow};
use control::store::{Arg, Error, OpenError, Slice, Stamp, meta, vm};

use crate::engines::Place;

fn row(number: u8, name: &str, namespace: &str) -> VmRow {
    VmRow {
        id: VmId::from_bytes([number; 16]),
        name: VmName::parse(name).unwrap(),
        label: name.to_ascii_lowercase(),
        namespace: Namespace::parse(namespace).unwrap(),
        network: NetworkName::parse("default").unwrap(),
        address: format!("10.0.0.{number}").parse().unwrap(),
        ssh_port: 65_535,
        loopback_ok: number.is_multiple_of(2),
        note: "Grüße, 'quotes' and \"more\"; $1 %_\\".into(),
        owner: None,
        stamp: Stamp::new(i64::MAX),
    }
}

pub(crate) async fn a_second_opening_finds_everything_done(place: &Place) {
    let first = meta::read(&mut place.open().await.read().await.unwrap()).await.unwrap();
    let second = meta::read(&mut place.open().await.read().await.unwrap()).await.unwrap();
    assert_eq!((first.lineage, first.generation), (second.lineage, second.generation));
    assert_ne!(first.lineage.0, [0; 16]);
}

pub(crate) async fn an_older_program_refuses_a_newer_schema(place: &Place) {
    let db = place.open().await;
    let mut conn = db.write().await.unwrap();
    conn.run("INSERT INTO schema_steps (step, applied_at) VALUES (999, 0)", &[]).await.unwrap();
    conn.commit().await.unwrap();
    db.close().await;

    let error = place.try_open().await.unwrap_err();

    assert!(matches!(error, OpenError::Newer { found: 999, .. }), "{error:?}");
    assert!(error.to_string().contains("newer version"), "{error}");
}

pub(crate) async fn a_dropped_transaction_leaves_nothing(place: &Place) {
    let db = place.open().await;
    let before = meta::read(&mut db.read().await.unwrap()).await.unwrap().generation;
    let mut conn = db.write().await.unwrap();
    meta::next_generation(&mut conn).await.unwrap();
    vm::insert(&mut conn, &row(1, "web01", "ns1")).await.unwrap();
    drop(conn);
    let mut conn = db.write().await.unwrap();
    assert!(vm::by_id(&mut conn, VmId::from_bytes([1; 16])).await.unwrap().is_none());
    assert_eq!(meta::read(&mut conn).await.unwrap().generation, before);
}

pub(crate) async fn generations_increase_strictly_under_concurrent_writers(place: &Place) {
    let db = place.open().await;
    let before = meta::read(&mut db.read().await.unwrap()).await.unwrap().generation;
    let writers = (0..8).map(|_| {
        let db = db.clone();
        tokio::spawn(async move {
            let mut taken = Vec::new();
            for _ in 0..25 {
                let mut conn = db.write().await.unwrap();
                let generation = meta::next_generation(&mut conn).await.unwrap();
                conn.commit().await.unwrap();
                taken.push(generation.0);
            }
            taken
        })
    });
    let mut all = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        let taken = writer.await.unwrap();
        assert!(taken.is_sorted_by(|a, b| a < b));
        all.extend(taken);
    }
    all.sort_unstable();
    assert_eq!(
        all,
        (before.0 + 1..=before.0 + 200).collect::<Vec<_>>(),
        "none is taken twice, none is left out"
    );
}

pub(crate) async fn only_live_rows_are_unique(place: &Place) {
    let db = place.open().await;
    let mut conn = db.write().await.unwrap();
    vm::insert(&mut conn, &row(1, "web01", "ns1")).await.unwrap();
    conn.commit().await.unwrap();
    for same in
        [row(2, "web01", "ns1"), VmRow { address: "10.0.0.1".parse().unwrap(), ..row(2, "other", "ns1") }]
    {
        let mut conn = db.write().await.unwrap();
        let error = vm::insert(&mut conn, &same).await.unwrap_err();
        assert!(matches!(error, Error::Unique { .. }), "{error:?}");
    }
    let mut conn = db.write().await.unwrap();
    vm::insert(&mut conn, &row(3, "web01", "ns2")).await.unwrap();
    vm::delete(&mut conn, VmId::from_bytes([1; 16]), 7).await.unwrap();
    vm::insert(&mut conn, &VmRow { address: "10.0.0.1".parse().unwrap(), ..row(2, "web01", "ns1") })
        .await
        .unwrap();
    conn.commit().await.unwrap();
}

pub(crate) async fn values_come_back_as_they_went(place: &Place) {
    let db = place.open().await;
    let mut conn = db.write().await.unwrap();
    for row in [row(1, "web01", "ns1"), VmRow { owner: Some("usr1".into()), ..row(2, "WEB-2_x", "ns1") }] {
        vm::insert(&mut conn, &row).await.unwrap();
        let back = vm::by_id(&mut conn, row.id).await.unwrap().unwrap();
        assert_eq!(format!("{back:?}"), format!("{row:?}"));
    }
    let sql = "SELECT $1 AS a, COUNT(*) AS n FROM vms WHERE note = $1";
    let note = row(1, "x", "ns1").note;
    let row = conn.row(sql, &[Arg::from(note.as_str())]).await.unwrap().unwrap();
    assert_eq!((row.text("a").unwrap(), row.int("n").unwrap()), (note, 2));
}

pub(crate) async fn a_list_keeps_to_its_namespaces_and_pages(place: &Place) {
    let db = place.open().await;
    let mut conn = db.write().await.unwrap();
    for (number, namespace) in [(1, "a_b"), (2, "aXb"), (3, "a_b"), (4, "c"), (5, "a_b")] {
        vm::insert(&mut conn, &row(number, &format!("vm{number}"), namespace)).await.unwrap();
    }
    let mut list = async |namespaces: Option<Vec<&str>>, after: Option<u8>, limit: usize| {
        let slice = Slice {
            after: after.map(|after| VmId::from_bytes([after; 16]).to_string()),
            limit,
            namespaces: namespaces.map(|names| names.into_iter().map(str::to_owned).collect()),
        };
        let rows = vm::list(&mut conn, &Filter::default(), &slice).await.unwrap();
        rows.iter().map(|row| row.id.to_bytes()[0]).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 10).await, [1, 2, 3, 4, 5]);
    assert_eq!(list(Some(vec!["a_b"]), None, 10).await, [1, 3, 5]);
    assert_eq!(list(Some(vec!["a_b", "c"]), Some(1), 2).await, [3, 4]);
    assert_eq!(list(Some(vec![]), None, 10).await, [0; 0]);
}

pub(crate) async fn the_change_log_names_each_object_once(place: &Place) {
    let db = place.open().await;
    let mut conn = db.write().await.unwrap();
    let key = |number: u8| ObjectKey { kind: Kind::VM, id: [number; 16] };
    for (generation, number) in [(10, 1), (10, 1), (11, 1), (12, 2), (13, 3)] {
        meta::log_change(&mut conn, Generation(generation), key(number)).await.unwrap();
    }
    let mut since = async |generation| {
        let mut keys = meta::changed_since(&mut conn, Generation(generation)).await.unwrap();
        keys.sort();
        keys
    };
    assert_eq!(since(9).await, [key(1), key(2), key(3)]);
    assert_eq!(since(11).await, [key(2), key(3)]);
    meta::prune_log(&mut conn, Generation(12)).await.unwrap();
    assert_eq!(meta::changed_since(&mut conn, Generation(0)).await.unwrap().len(), 2);
}
