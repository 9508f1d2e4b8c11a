use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

use super::super::tests::{Fake, snapshot};
use super::*;

const SHORT: Timers = Timers { ping: Duration::from_millis(100), dead: Duration::from_secs(1) };

/// The far ends of a driver: control's, and those of the side that installs.
struct Ends {
    control: DuplexStream,
    asked: mpsc::Receiver<Job>,
    answers: mpsc::Sender<Outcome>,
}

/// A driver that serves generation 1, its stream, and what is at the far ends.
fn driver(fake: &Fake) -> (Driver<'_, Fake>, Framed<DuplexStream>, Ends) {
    let (here, control) = duplex(1024 * 1024);
    let (jobs, asked) = mpsc::channel(1);
    let (answers, outcomes) = mpsc::channel(1);
    let follower = Follower::new(Some(Arc::new(snapshot(1))));
    let renewal = super::super::tests::never_due();
    let driver = Driver {
        follower,
        installer: fake,
        jobs,
        outcomes,
        timers: SHORT,
        heard_any: false,
        greeted: false,
        renewal,
    };
    (driver, Framed::new(here, limits::MESSAGE_BYTES_MAX), Ends { control, asked, answers })
}

#[tokio::test]
async fn a_silent_control_is_pinged_and_then_given_up() {
    let fake = Fake::new(None);
    let (mut driver, framed, Ends { control, asked: _asked, answers: _answers }) = driver(&fake);
    let end = driver.converse(framed).await;
    assert!(matches!(end, SyncError::Silent { .. }), "{end}");
    let mut control = Framed::new(control, limits::MESSAGE_BYTES_MAX);
    let (mut pings, mut reports) = (0, 0);
    while let Ok(frame) = control.receive().await {
        let message = decode(frame).await.unwrap();
        pings += i32::from(matches!(message, Message::Ping(_)));
        if let Message::Report(report) = message {
            reports += report.connections;
        }
        if pings == 3 {
            break;
        }
    }
    assert!(reports >= 3, "reports pass as well");
}

#[tokio::test]
async fn a_message_that_comes_slowly_is_not_silence() {
    let fake = Fake::new(None);
    let (mut driver, framed, Ends { mut control, mut asked, answers: _answers }) = driver(&fake);
    let bytes = Message::Snapshot(snapshot(9)).encode();
    let trickle = async {
        control.write_all(&u32::try_from(bytes.len()).unwrap().to_be_bytes()).await.unwrap();
        // Longer in all than the silence that would end the stream.
        let pace = bytes.len() / 12 + 1;
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        for part in bytes.chunks(pace) {
            ticks.tick().await;
            control.write_all(part).await.unwrap();
        }
        asked.recv().await.unwrap().snapshot
    };
    tokio::select! {
        end = driver.converse(framed) => panic!("ended: {end}"),
        asked = trickle => assert_eq!(*asked, snapshot(9)),
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_and_frames_above_the_limit_end_the_stream() {
    for bytes in [&[0, 0, 0, 2, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff][..]] {
        let fake = Fake::new(None);
        let (mut driver, framed, Ends { mut control, asked: _asked, answers: _answers }) = driver(&fake);
        control.write_all(bytes).await.unwrap();
        let end = driver.converse(framed).await;
        assert!(matches!(end, SyncError::Malformed(_) | SyncError::Broken(_)), "{end}");
    }
}

#[tokio::test]
async fn an_install_goes_on_while_the_stream_breaks_and_the_next_hello_names_it() {
    let fake = Fake::new(None);
    let (mut driver, framed, Ends { mut control, mut asked, answers }) = driver(&fake);
    let message = Message::Snapshot(snapshot(2)).encode();
    control.write_all(&u32::try_from(message.len()).unwrap().to_be_bytes()).await.unwrap();
    control.write_all(&message).await.unwrap();
    tokio::select! {
        end = driver.converse(framed) => panic!("ended: {end}"),
        job = asked.recv() => assert_eq!(*job.unwrap().snapshot, snapshot(2)),
    }

    let (here, there) = duplex(1024 * 1024);
    answers.send(Outcome::Installed(Vec::new())).await.unwrap();
    let mut control = Framed::new(there, limits::MESSAGE_BYTES_MAX);
    let greeted = async {
        let frame = control.receive().await.unwrap();
        let Message::Hello(hello) = decode(frame).await.unwrap() else { panic!("not a greeting") };
        hello.have.unwrap().generation
    };
    tokio::select! {
        end = driver.converse(Framed::new(here, limits::MESSAGE_BYTES_MAX)) => panic!("ended: {end}"),
        generation = greeted => assert_eq!(generation, snapshot(2).generation()),
    }
}
