//! One terminal from its ticket to its end: redeemed, opened and served, whatever becomes of its page meanwhile.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::id::{UserId, VmId};
use config::limits;
use config::secret::Secret;
use config::snapshot::{Console, Kind, ObjectKey, PinState, SshHostKeyPin, Value};
use config::sync::asking::{Answer, Question};
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::end::End;
use super::pages::Pages;
use super::protocol::Size;
use super::registry::Attachment;
use super::session::Terminal;
use super::shell::{self, HostKeys, Login, Shell};
use crate::clock::now_ms;
use crate::console::entrance::{Entrance, Opened};
use crate::console::ticket;
use crate::upstream::{Call, Stream, Upstreams};
use crate::worker::{Shared, Worker};

/// A terminal that is to be opened.
pub(crate) struct New {
    pub(crate) entrance: Entrance,
    /// Longest silence.
    pub(crate) idle: Duration,
}

/// Opens a terminal for a page of this size and serves it to its end. Pages come by `knocks`; where none is there at the
/// end, the one that comes back in time is told.
pub(super) async fn run(worker: Rc<Worker>, new: New, knocks: mpsc::Receiver<Attachment>, size: Size) {
    let New { entrance, idle } = new;
    let id = entrance.opening.claims.session;
    let terminals = &worker.shared.terminals;
    let mut pages = Pages::new(knocks);
    let opened = pages.during(entrance.redeem(&worker.shared)).await;
    let (end, _permit) = match opened {
        Err(refusal) => (End::Refused(refusal), None),
        Ok(opened) => {
            let end = live(&worker, &opened, (&mut pages, size), idle).await;
            let Opened { opening, session, permit, .. } = opened;
            let claims = opening.claims;
            session.ended_because(end.words());
            tracing::info!(
                session = %session.id(), console = %claims.console, vm = %claims.vm, user = ?claims.user, ?end,
                "terminal closed"
            );
            (end, Some(permit))
        }
    };
    if pages.is_attended() {
        // Before it is told: it may ask again at once.
        terminals.closed(id);
        pages.end(end).await;
    } else {
        pages.end(end).await;
        terminals.closed(id);
    }
}

/// Opens the shell and serves it.
async fn live(
    worker: &Rc<Worker>,
    opened: &Opened,
    (pages, size): (&mut Pages, Size),
    idle: Duration,
) -> End {
    let shell = tokio::select! {
        biased;
        end = ordered(&worker.shared, opened) => Err(end),
        shell = pages.during(open(worker, opened, size)) => shell,
    };
    let mut shell = match shell {
        Ok(shell) => shell,
        Err(end) => return end,
    };
    let title = name_of(&worker.shared, opened.opening.claims.vm).unwrap_or_default();
    let terminal = Terminal::new(&mut shell, pages, (&opened.session, idle), title);
    let end = tokio::select! {
        biased;
        end = ordered(&worker.shared, opened) => end,
        end = terminal.serve() => end,
    };
    shell.leave();
    end
}

/// Resolves when the terminal is to end, whatever its shell does.
async fn ordered(shared: &Shared, opened: &Opened) -> End {
    tokio::select! {
        biased;
        reason = opened.session.ended() => End::Ordered(reason),
        () = access_is_over(shared, opened.opening.claims.user) => End::AccessOver,
    }
}

/// Resolves when the time is over for which this person has access by SSH, as the generation in force says it. A person
/// who is gone, or has lost the role, is the registry's.
async fn access_is_over(shared: &Shared, user: Option<UserId>) {
    let mut steps = shared.sessions.steps();
    loop {
        steps.mark_unchanged();
        let live = shared.current.pin();
        let holder = live.zip(user).and_then(|(live, user)| ticket::principal(&live.snapshot, user));
        let left = holder.and_then(|holder| holder.ssh.until_ms).map(|until| until.saturating_sub(now_ms()));
        let moved = match left {
            Some(0) => return,
            Some(left) => timeout(Duration::from_millis(left), steps.changed()).await.unwrap_or(Ok(())),
            None => steps.changed().await,
        };
        if moved.is_err() {
            // Not reached: the sender lives as long as the gateway.
            std::future::pending::<()>().await;
        }
    }
}

async fn open(worker: &Rc<Worker>, opened: &Opened, size: Size) -> Result<Shell, End> {
    let shared = &worker.shared;
    let login = login(shared, &opened.text).await?;
    let vm = dial(worker, &opened.opening.console).await?;
    let keys = Pins { shared: Arc::clone(shared), vm: opened.opening.claims.vm };
    shell::open(vm, keys, login, size).await.map_err(|error| End::NotOpened(error.to_string()))
}

/// Has a new key certified by control. The key is forgotten with the shell.
async fn login(shared: &Shared, ticket: &Secret<String>) -> Result<Login, End> {
    let no_key = |_| End::NotOpened("the gate has no randomness for a key".to_owned());
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).map_err(no_key)?;
    let blob = key.public_key().to_bytes().map_err(no_key)?;
    let question = Question::Certify { ticket: ticket.clone(), key: blob };
    let refused = |why: &str| Err(End::NotOpened(why.to_owned()));
    match shared.asking.ask(question).await {
        Some(Answer::Certified { certificate, login }) => match Certificate::from_openssh(&certificate) {
            Ok(certificate) => Ok(Login { name: login, key: Arc::new(key), certificate }),
            Err(_) => refused("control sent a certificate that cannot be read"),
        },
        Some(Answer::Refused(why)) => Err(End::NotOpened(why)),
        Some(_) => refused("control is too old to open terminals; update it"),
        None => refused("control is away, and a terminal needs it to log in; try again in a moment"),
    }
}

async fn dial(worker: &Rc<Worker>, console: &Console) -> Result<TcpStream, End> {
    let call = Call {
        endpoint: &console.endpoint,
        policy: None,
        ends: None,
        deadline: Duration::from_millis(limits::CONNECT_DEADLINE_MS),
        takes_idle: false,
    };
    let unreachable = || End::NotOpened("the SSH server of the VM cannot be reached".to_owned());
    match Upstreams::connect(worker, &call).await {
        Ok(lease) => match lease.stream {
            Stream::Plain(vm) => Ok(vm),
            // Not reached: without a policy a connection is plain.
            Stream::Tls(_) | Stream::Http2(_) => Err(unreachable()),
        },
        Err(fault) => {
            let cause = fault.cause.as_ref().map(tracing::field::display);
            tracing::info!(console = %console.id, %fault, cause, "terminal cannot be reached");
            Err(unreachable())
        }
    }
}

fn name_of(shared: &Shared, vm: VmId) -> Option<String> {
    let live = shared.current.pin()?;
    let object = live.snapshot.get(ObjectKey { kind: Kind::VM, id: vm.to_bytes() })?;
    if let Ok(Value::Vm(vm)) = object.decode() { Some(vm.name.to_string()) } else { None }
}

/// The host keys of a VM, as the generation in force pins them and control adds to them.
struct Pins {
    shared: Arc<Shared>,
    vm: VmId,
}

impl HostKeys for Pins {
    fn known(&self) -> Vec<Algorithm> {
        let pins = self.all();
        let keys = pins.iter().flat_map(|pin| &pin.keys);
        let accepted = keys.filter(|pinned| pinned.state == PinState::Accepted);
        accepted
            .filter_map(|pinned| PublicKey::from_bytes(&pinned.key.blob).ok())
            .map(|key| key.algorithm())
            .collect()
    }

    async fn check(&self, key: &PublicKey) -> Result<(), String> {
        let shown = key.fingerprint(HashAlg::Sha256);
        let changed = || {
            format!(
                "the VM shows another SSH host key ({shown}) than before: somebody may be listening; whoever runs it \
                 can accept the key"
            )
        };
        let blob = key.to_bytes().map_err(|_| "the VM's SSH host key cannot be read".to_owned())?;
        match self.pinned(&blob) {
            Some(PinState::Accepted) => return Ok(()),
            Some(PinState::Refused) => return Err(changed()),
            None => {}
        }
        let question = Question::HostKeySeen { vm: self.vm, key: blob };
        match self.shared.asking.ask(question).await {
            Some(Answer::HostKey(true)) => Ok(()),
            Some(Answer::HostKey(false)) => Err(changed()),
            Some(Answer::Refused(why)) => Err(why),
            Some(_) | None => Err(
                "the VM's SSH host key is not known yet and control is away: nothing is typed to a stranger; try again"
                    .to_owned(),
            ),
        }
    }
}

impl Pins {
    fn pinned(&self, blob: &[u8]) -> Option<PinState> {
        self.all()?.keys.iter().find(|pinned| *pinned.key.blob == *blob).map(|pinned| pinned.state)
    }

    fn all(&self) -> Option<SshHostKeyPin> {
        let live = self.shared.current.pin()?;
        let object = live.snapshot.get(ObjectKey { kind: Kind::SSH_HOST_KEY_PIN, id: self.vm.to_bytes() })?;
        if let Ok(Value::SshHostKeyPin(pin)) = object.decode() { Some(pin) } else { None }
    }
}
