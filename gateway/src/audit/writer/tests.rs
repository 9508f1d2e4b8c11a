use std::fs;

use config::id::AuditId;
use config::sync::audit::{AuditEvent, On, What, Who};

use super::*;

fn event(number: u128) -> AuditEvent {
    AuditEvent {
        id: AuditId::from_bytes(number.to_be_bytes()),
        at_ms: 1,
        what: What::Open,
        on: On::Other,
        who: Who::Root,
        proof: String::new(),
        source: [127, 0, 0, 1].into(),
        session: None,
        why: String::new(),
        totals: None,
    }
}

fn task(directory: &Path) -> Task {
    Task::new(directory, Arc::default(), Duration::from_secs(60)).unwrap()
}

/// A task that wrote two events, of which control noted one.
fn half_noted(directory: &Path) -> Task {
    let mut task = task(directory);
    (1..3).for_each(|number| task.shared.lock().write(event(number)));
    task.write();
    task.shared.lock().forget_first();
    task
}

/// What a process finds that starts when all others are gone.
fn found(directory: &Path) -> Vec<AuditEvent> {
    let mut task = task(directory);
    task.adopt();
    task.shared.lock().kept().cloned().collect()
}

fn only_file(directory: &Path) -> PathBuf {
    let files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    file.clone()
}

#[test]
fn a_file_that_is_written_anew_is_whole_until_the_next_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let (lies, before) = (dir.path().join("audit"), dir.path().join("before"));
    let mut task = half_noted(&lies);
    // What a power cut would leave of it at any time.
    fs::hard_link(only_file(&lies), &before).unwrap();
    let whole = fs::read(&before).unwrap();

    task.shrink_at = 0;
    task.shrink();

    assert_eq!(fs::read(&before).unwrap(), whole, "it was not cut");
    assert!(fs::metadata(only_file(&lies)).unwrap().len() < whole.len() as u64, "and another has its place");
    drop(task);
    assert_eq!(found(&lies), [event(2)]);
}

#[test]
fn a_file_that_cannot_be_written_anew_stays_and_that_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (lies, elsewhere) = (dir.path().join("audit"), dir.path().join("elsewhere"));
    let mut task = half_noted(&lies);
    let whole = fs::read(only_file(&lies)).unwrap();
    // No file can be made where it lies.
    fs::rename(&lies, &elsewhere).unwrap();
    fs::write(&lies, b"").unwrap();

    task.shrink_at = 0;
    task.shrink();

    assert_eq!(fs::read(only_file(&elsewhere)).unwrap(), whole);
    assert!(task.shrink_at > whole.len() as u64, "not with each event");
    fs::remove_file(&lies).unwrap();
    fs::rename(&elsewhere, &lies).unwrap();
    let mut number = 3;
    while fs::read(only_file(&lies)).unwrap().starts_with(&whole) {
        (0..1_000).for_each(|_| task.shared.lock().write(event(number)));
        task.write();
        number += 1;
    }
    task.shared.lock().write(event(1_000));
    task.write();
    drop(task);
    assert_eq!(found(&lies).last(), Some(&event(1_000)), "the next one is written on");
}

#[test]
fn what_cannot_be_taken_over_now_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut elder = task(dir.path());
    elder.shared.lock().write(event(1));
    elder.write();
    drop(elder);
    let left = only_file(dir.path());
    let bytes = fs::read(&left).unwrap();
    fs::remove_file(&left).unwrap();
    // It opens, and cannot be read.
    fs::create_dir(&left).unwrap();

    let mut task = task(dir.path());
    task.adopt();
    assert!(task.shared.lock().is_all_noted());
    fs::remove_dir(&left).unwrap();
    fs::write(&left, bytes).unwrap();
    task.adopt();

    assert_eq!(task.shared.lock().kept().cloned().collect::<Vec<_>>(), [event(1)]);
    assert!(!left.exists());
}

#[test]
fn a_file_that_somebody_is_just_making_is_not_taken_for_a_dead_ones() {
    let dir = tempfile::tempdir().unwrap();
    let elder = Own::create(dir.path()).unwrap();
    // What another process sees between the making of a file and its lock.
    fs::write(dir.path().join("0.aside"), b"").unwrap();
    assert!(elder.left_behind().unwrap().is_empty());
    std::thread::scope(|scope| {
        let heirs = scope.spawn(|| {
            for _ in 0..500 {
                let heir = Own::create(dir.path()).unwrap();
                assert!(heir.is_there(), "it would write into nothing");
                heir.remove().unwrap();
            }
        });
        while !heirs.is_finished() {
            for left in elder.left_behind().unwrap() {
                left.remove().unwrap();
            }
        }
    });
}
