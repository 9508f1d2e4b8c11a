use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use russh::keys::ssh_key::certificate::{Builder, Certificate};
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Session};
use russh::{Channel, ChannelId, Pty};
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::*;
use crate::session::{SessionKind, Sessions, Subject};
use crate::terminal::shell::{self, HostKeys, Login};

/// Long enough for what a page repeats to be heard several times.
const IDLE: Duration = Duration::from_millis(400);
const DAY: Duration = Duration::from_secs(86_400);

/// A VM that lets everybody in and whose shell says nothing.
struct Vm;

impl server::Handler for Vm {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _login: &str,
        _offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn auth_openssh_certificate(
        &mut self,
        _login: &str,
        _shown: &Certificate,
    ) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_success(channel)
    }
}

struct Any;

impl HostKeys for Any {
    async fn check(&self, _key: &PublicKey) -> Result<(), String> {
        Ok(())
    }

    fn known(&self) -> Vec<Algorithm> {
        Vec::new()
    }
}

fn new_key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
}

async fn shell() -> Shell {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let config = Arc::new(server::Config { keys: vec![new_key()], ..Default::default() });
    tokio::task::spawn_local(async move {
        // The test ends before its VM.
        let _ = server::run_stream(config, far, Vm).await.unwrap().await;
    });
    let key = new_key();
    let mut builder = Builder::new(vec![0; 16], key.public_key().key_data().clone(), 0, u64::MAX).unwrap();
    builder.valid_principal("root").unwrap();
    let login =
        Login { name: "root".to_owned(), certificate: builder.sign(&key).unwrap(), key: Arc::new(key) };
    shell::open(near, Any, login, Size::default()).await.unwrap()
}

/// A page, and its session's side of it.
struct Looks {
    say: mpsc::Sender<Said>,
    told: mpsc::Receiver<Bytes>,
    end: oneshot::Receiver<End>,
}

fn page() -> (Looks, Attachment) {
    let (say, said) = mpsc::channel(limits::TERMINAL_SAID_QUEUED_MAX);
    let (tell, told) = mpsc::channel(limits::TERMINAL_TOLD_QUEUED_MAX);
    let (over, end) = oneshot::channel();
    (Looks { say, told, end }, Attachment { size: Size::default(), said, told: tell, end: over })
}

fn session() -> SessionHandle {
    Arc::new(Sessions::default()).open(Subject {
        kind: SessionKind::Console,
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        principal: None,
        route: None,
        forward: None,
        endpoint: None,
        vm: None,
        console: None,
    })
}

/// Runs a test with a shell that is open, as a worker runs.
fn with_shell(test: impl AsyncFnOnce(Shell)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let whole = async { within(async { test(shell().await).await }).await };
    LocalSet::new().block_on(&runtime, whole);
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("within 20 s")
}

/// How a terminal ends whose page says this over and over.
async fn ends_saying(mut shell: Shell, said: &[Said]) -> End {
    let (looks, attachment) = page();
    let (_door, knocks) = mpsc::channel(1);
    let (mut pages, session) = (Pages::new(knocks), session());
    pages.enters(attachment);
    let terminal = Terminal::new(&mut shell, &mut pages, (&session, IDLE), "vm".to_owned());
    let mut again = tokio::time::interval(IDLE / 8);
    let says = async {
        for said in said.iter().cycle() {
            again.tick().await;
            if looks.say.send(said.clone()).await.is_err() {
                break;
            }
        }
        std::future::pending::<End>().await
    };
    tokio::select! {
        end = terminal.serve() => end,
        end = says => end,
    }
}

#[test]
fn what_a_page_says_to_be_heard_does_not_keep_a_terminal_open() {
    with_shell(async |shell| {
        let empty = Said::Input(Bytes::new());
        let said = [Said::Resize(Size::default()), Said::Pause, Said::Resume, empty];
        assert_eq!(ends_saying(shell, &said).await, End::Ordered(EndReason::Idle));
    });
}

#[test]
fn only_input_and_another_size_of_all_that_a_page_says_is_movement() {
    with_shell(async |mut shell| {
        let (_door, knocks) = mpsc::channel(1);
        let (mut pages, session) = (Pages::new(knocks), session());
        let mut terminal = Terminal::new(&mut shell, &mut pages, (&session, DAY), "vm".to_owned());
        let long_ago = terminal.moved;
        let other = Size { columns: 90, rows: 30 };
        for (said, is_movement) in [
            (Said::Input(Bytes::from_static(b"x")), true),
            (Said::Input(Bytes::new()), false),
            (Said::Resize(Size::default()), false),
            (Said::Resize(other), true),
            (Said::Resize(other), false),
            (Said::Pause, false),
            (Said::Resume, false),
        ] {
            terminal.moved = long_ago;
            terminal.said(said.clone()).unwrap();
            assert_eq!(terminal.moved != long_ago, is_movement, "{said:?}");
        }
    });
}

#[test]
fn a_page_that_leaves_while_the_shell_takes_no_input_is_away_from_then_on() {
    with_shell(async |mut shell| {
        // Nobody takes what is typed.
        let (input, mut typed) = mpsc::channel(1);
        input.send(Bytes::from_static(b"full")).await.unwrap();
        shell.input = input;
        let (looks, attachment) = page();
        let (_door, knocks) = mpsc::channel(1);
        let (mut pages, session) = (Pages::new(knocks), session());
        pages.enters(attachment);
        let mut terminal = Terminal::new(&mut shell, &mut pages, (&session, DAY), "vm".to_owned());
        looks.say.send(Said::Input(Bytes::from_static(b"more"))).await.unwrap();

        drop((looks.say, looks.told, looks.end));

        assert!(matches!(terminal.event().await, Event::Leaves));
        terminal.pages.leaves();
        assert!(terminal.pages.is_alone());
        let since = terminal.pages.alone_until();
        // What it said is not lost with it, once the shell takes input again.
        typed.recv().await.unwrap();
        let Event::Said(Some(said)) = terminal.event().await else { panic!("nothing was said") };
        assert_eq!(said, Said::Input(Bytes::from_static(b"more")));
        assert!(matches!(terminal.event().await, Event::Said(None)));
        terminal.pages.left();
        assert_eq!((terminal.pages.is_alone(), terminal.pages.alone_until()), (true, since));
    });
}
