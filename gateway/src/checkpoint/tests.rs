use std::os::unix::fs::PermissionsExt as _;

use config::snapshot::{Generation, Kind, Lineage, Object, ObjectKey};
use tempfile::TempDir;

use super::*;

const LINEAGE: Lineage = Lineage([1; 16]);

fn object(number: u64) -> Object {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    Object::new(ObjectKey { kind: Kind::VM, id }, format!("content of {number}").into_bytes())
}

/// Generation `number` holds objects 1 to `number`.
fn snapshot(number: u64) -> Snapshot {
    Snapshot::of(LINEAGE, Generation(number), (1..=number).map(object))
}

fn open(dir: &TempDir) -> (Checkpoint, Option<u64>, Vec<String>) {
    let (checkpoint, snapshot, notes) = Checkpoint::open(dir.path()).unwrap();
    if let Some(read) = &snapshot {
        assert_eq!(read, &self::snapshot(read.generation().0), "read something that was never saved");
    }
    (checkpoint, snapshot.map(|snapshot| snapshot.generation().0), notes)
}

/// Saves the generations of `numbers`, each as a change to the one before; the first as a whole.
fn save(checkpoint: &mut Checkpoint, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let delta = delta::diff(&snapshot(number - 1), &snapshot(number));
        checkpoint.save(&snapshot(number), Some(&delta)).unwrap();
    }
}

fn saved(numbers: std::ops::RangeInclusive<u64>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    save(&mut open(&dir).0, numbers);
    dir
}

fn files_of(dir: &TempDir, prefix: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir.path().join("gateway/checkpoint"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    paths.sort();
    paths
}

fn newest(dir: &TempDir, prefix: &str) -> PathBuf {
    files_of(dir, prefix).pop().unwrap()
}

#[test]
fn an_empty_directory_has_nothing_and_no_notes() {
    let dir = tempfile::tempdir().unwrap();
    let (_, generation, notes) = open(&dir);
    assert_eq!((generation, notes), (None, Vec::new()));
}

#[test]
fn what_was_saved_last_is_read_after_a_start() {
    let dir = saved(1..=5);
    let (mut checkpoint, generation, notes) = open(&dir);
    assert_eq!((generation, notes), (Some(5), Vec::new()));
    assert_eq!(files_of(&dir, "base-").len(), 1);
    save(&mut checkpoint, 6..=7);
    assert_eq!(open(&dir).1, Some(7));
    assert_eq!(files_of(&dir, "base-").len(), 1, "a change after a start appends to the log that is there");
}

#[test]
fn a_whole_of_another_lineage_replaces_all() {
    let dir = saved(1..=5);
    let (mut checkpoint, _, _) = open(&dir);
    let other = Snapshot::of(Lineage([2; 16]), Generation(2), [object(9)]);
    checkpoint.save(&other, None).unwrap();
    assert_eq!(Checkpoint::open(dir.path()).unwrap().1, Some(other));
}

#[test]
fn a_change_that_does_not_follow_is_saved_as_a_whole() {
    let dir = saved(1..=2);
    let (mut checkpoint, _, _) = open(&dir);
    save(&mut checkpoint, 9..=9);
    assert_eq!(open(&dir).1, Some(9));
}

#[test]
fn files_are_for_their_owner_alone_and_show_no_content() {
    let dir = saved(1..=3);
    let gateway = dir.path().join("gateway");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&gateway.join("checkpoint")), 0o700);
    for path in [newest(&dir, "base-"), newest(&dir, "log-"), gateway.join("seal.key")] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"content"), "{} is in the clear", path.display());
    }
}

#[test]
fn a_log_cut_at_any_byte_loses_only_what_was_cut() {
    let dir = saved(1..=4);
    let log = newest(&dir, "log-");
    let whole = fs::read(&log).unwrap();
    let mut last = 0;
    for len in 0..whole.len() {
        fs::write(&log, &whole[..len]).unwrap();
        let (_, generation, notes) = open(&dir);
        let generation = generation.unwrap();
        assert!((last..4).contains(&generation), "{len} bytes: generation {generation}");
        // At the end of a record nothing is torn: the rest may never have been written.
        let is_noted = notes.iter().any(|note| note.contains("ends early"));
        assert!(is_noted || generation > last || len == record::MAGIC.len(), "{len} bytes: {notes:?}");
        last = generation;
    }
    assert_eq!(last, 3);
}

#[test]
fn a_gateway_goes_on_after_a_torn_log() {
    let dir = saved(1..=4);
    let log = newest(&dir, "log-");
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() - 1]).unwrap();
    let (mut checkpoint, generation, _) = open(&dir);
    assert_eq!(generation, Some(3));
    save(&mut checkpoint, 4..=6);
    let (_, generation, notes) = open(&dir);
    assert_eq!((generation, notes), (Some(6), Vec::new()));
}

#[test]
fn a_base_cut_at_any_byte_falls_back_to_the_older_pair() {
    let dir = saved(1..=3);
    let (mut checkpoint, _, _) = open(&dir);
    checkpoint.save(&snapshot(4), None).unwrap();
    let base = newest(&dir, "base-");
    let whole = fs::read(&base).unwrap();
    for len in (0..whole.len()).step_by(3).chain([whole.len() - 1]) {
        fs::write(&base, &whole[..len]).unwrap();
        let (_, generation, notes) = open(&dir);
        assert_eq!(generation, Some(3), "{len} bytes");
        assert!(notes.iter().any(|note| note.contains("older checkpoint")), "{notes:?}");
    }
    let (mut checkpoint, _, _) = open(&dir);
    save(&mut checkpoint, 4..=5);
    let (_, generation, notes) = open(&dir);
    assert_eq!((generation, notes), (Some(5), Vec::new()));
}

#[test]
fn a_flipped_bit_anywhere_is_noticed_and_nothing_false_is_read() {
    let dir = saved(1..=3);
    for prefix in ["base-", "log-"] {
        let path = newest(&dir, prefix);
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 8);
            fs::write(&path, &bytes).unwrap();
            // `open` compares what is read with what was saved.
            let (_, generation, notes) = open(&dir);
            assert!(generation < Some(3), "{prefix} byte {place}");
            assert!(!notes.is_empty(), "{prefix} byte {place}");
        }
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(open(&dir).1, Some(3));
}

#[test]
fn records_do_not_move_between_files() {
    let dir = saved(1..=2);
    let (mut checkpoint, _, _) = open(&dir);
    checkpoint.save(&snapshot(3), None).unwrap();
    let bases = files_of(&dir, "base-");
    fs::copy(&bases[0], &bases[1]).unwrap();
    assert_eq!(open(&dir).1, Some(2), "the older base stood in for the newer");
}

#[test]
fn two_older_pairs_are_kept_and_each_can_stand_in() {
    let dir = tempfile::tempdir().unwrap();
    let (mut checkpoint, _, _) = open(&dir);
    for number in 1..=6 {
        checkpoint.save(&snapshot(number), None).unwrap();
    }
    assert_eq!(files_of(&dir, "base-").len(), 1 + limits::CHECKPOINTS_KEPT);
    for expected in [5, 4] {
        fs::remove_file(newest(&dir, "base-")).unwrap();
        assert_eq!(open(&dir).1, Some(expected));
    }
    fs::write(newest(&dir, "base-"), b"").unwrap();
    let (_, generation, notes) = open(&dir);
    assert_eq!(generation, None);
    assert!(notes.iter().any(|note| note.contains("waiting for control")));
}

#[test]
fn a_log_without_its_base_does_not_spoil_the_next_one() {
    let dir = saved(1..=3);
    fs::remove_file(newest(&dir, "base-")).unwrap();
    let (mut checkpoint, generation, _) = open(&dir);
    assert_eq!(generation, None);
    save(&mut checkpoint, 1..=3);
    let (_, generation, notes) = open(&dir);
    assert_eq!((generation, notes), (Some(3), Vec::new()));
}

#[test]
fn a_lost_or_damaged_seal_key_costs_the_checkpoint_and_not_the_start() {
    let dir = saved(1..=3);
    let key = dir.path().join("gateway/seal.key");
    fs::remove_file(&key).unwrap();
    let (mut checkpoint, generation, notes) = open(&dir);
    assert_eq!(generation, None);
    assert!(notes.iter().any(|note| note.contains("another key")), "{notes:?}");
    save(&mut checkpoint, 1..=1);
    assert_eq!(open(&dir).1, Some(1));
    fs::write(&key, b"short").unwrap();
    let (_, generation, notes) = open(&dir);
    assert_eq!(generation, None);
    assert!(notes.iter().any(|note| note.contains("is replaced")), "{notes:?}");
}

#[test]
fn a_log_that_outgrows_its_limit_becomes_a_base() {
    let dir = tempfile::tempdir().unwrap();
    let (mut checkpoint, _, _) = open(&dir);
    let big = |number: u64| {
        let key = object(1).key();
        let content = vec![number as u8; limits::OBJECT_BYTES_MAX];
        Snapshot::of(LINEAGE, Generation(number), [Object::new(key, content)])
    };
    checkpoint.save(&big(1), None).unwrap();
    for number in 2..=6 {
        checkpoint.save(&big(number), Some(&delta::diff(&big(number - 1), &big(number)))).unwrap();
    }
    assert_eq!(files_of(&dir, "base-").len(), 2);
    let log_bytes: u64 =
        files_of(&dir, "log-").iter().map(|path| fs::metadata(path).unwrap().len()).max().unwrap();
    assert!(log_bytes <= limits::CHECKPOINT_LOG_BYTES_MAX);
    assert_eq!(Checkpoint::open(dir.path()).unwrap().1, Some(big(6)));
}

#[test]
fn what_a_crash_left_aside_is_removed() {
    let dir = saved(1..=2);
    let aside = dir.path().join("gateway/checkpoint/base-00000000000000ff.aside");
    fs::write(&aside, b"half").unwrap();
    let (_, generation, notes) = open(&dir);
    assert_eq!((generation, notes), (Some(2), Vec::new()));
    assert!(!aside.exists());
}
