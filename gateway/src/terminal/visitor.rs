//! A browser that asked for a terminal: it gets a new one, or its own again.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::id::{SessionId, VmId};
use config::limits;
use config::secret::Secret;
use config::snapshot::{Kind, ObjectKey, PinState, SshHostKeyPin, Value};
use config::sync::asking::{Answer, Question};
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::end::End;
use super::page::Page;
use super::protocol::Size;
use super::session::Terminal;
use super::shell::{self, HostKeys, Login, Shell};
use crate::console::redeemed::Browser;
use crate::console::ticket::Opening;
use crate::guard::SessionPermit;
use crate::session::SessionHandle;
use crate::upstream::{Call, Stream, Upstreams};
use crate::worker::{Shared, Worker};

/// Somebody whose handshake was answered.
pub(crate) struct Visitor {
    /// The terminal, as its ticket names it.
    pub(crate) ticket: SessionId,
    pub(crate) browser: Browser,
    /// What is to be opened; `None` comes back to what is open.
    pub(crate) new: Option<New>,
}

/// A terminal that was admitted: its ticket is redeemed and its session registered.
pub(crate) struct New {
    pub(crate) opening: Opening,
    /// The ticket itself, for control.
    pub(crate) text: Secret<String>,
    pub(crate) session: SessionHandle,
    pub(crate) permit: SessionPermit,
    /// Longest silence.
    pub(crate) idle: Duration,
}

/// Serves a page to its end. `early` is what came glued to the handshake.
pub(crate) async fn run<IO>(worker: Rc<Worker>, io: IO, early: Vec<u8>, visitor: Visitor)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut page = Page::new(io, early).await;
    let size = match page.hello().await {
        Ok(size) => size,
        Err(end) => return page.close(&end).await,
    };
    let Visitor { ticket, browser, new } = visitor;
    if let Some(new) = new
        && let Err(end) = start(&worker, &mut page, (new, ticket, browser), size).await
    {
        return page.close(&end).await;
    }
    match worker.shared.terminals.door(ticket, browser) {
        Some(door) => page.serve(door, size).await,
        None => page.close(&End::Gone).await,
    }
}

/// Opens the shell, and leaves it to a task of its own.
async fn start<IO>(
    worker: &Rc<Worker>,
    page: &mut Page<IO>,
    (new, ticket, browser): (New, SessionId, Browser),
    size: Size,
) -> Result<(), End>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let opened = tokio::select! {
        biased;
        reason = new.session.ended() => Err(End::Ordered(reason)),
        opened = open(worker, &new, size) => opened,
    };
    let claims = new.opening.claims;
    let shell = opened.inspect_err(|end| {
        new.session.ended_because(end.words());
        tracing::info!(
            session = %new.session.id(), console = %claims.console, vm = %claims.vm, user = ?claims.user, ?end,
            "terminal not opened"
        );
    })?;
    if let Some(vm) = name_of(&worker.shared, claims.vm) {
        page.name(&vm).await?;
    }
    let shared = Arc::clone(&worker.shared);
    let knocks = shared.terminals.opened(ticket, browser);
    let New { session, permit, idle, .. } = new;
    tokio::task::spawn_local(async move {
        let id = session.id();
        let end = Terminal { shell, knocks, session: &session, idle, nudged: None }.serve().await;
        session.ended_because(end.words());
        drop(session);
        shared.terminals.closed(ticket);
        drop(permit);
        tracing::info!(
            session = %id, console = %claims.console, vm = %claims.vm, user = ?claims.user, ?end, "terminal closed"
        );
    });
    Ok(())
}

async fn open(worker: &Rc<Worker>, new: &New, size: Size) -> Result<Shell, End> {
    let shared = &worker.shared;
    let login = login(shared, new).await?;
    let vm = dial(worker, new).await?;
    let keys = Pins { shared: Arc::clone(shared), vm: new.opening.claims.vm };
    shell::open(vm, keys, login, size).await.map_err(|error| End::NotOpened(error.to_string()))
}

/// Has a new key certified by control. The key is forgotten with the shell.
async fn login(shared: &Shared, new: &New) -> Result<Login, End> {
    let no_key = |_| End::NotOpened("the gate has no randomness for a key".to_owned());
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).map_err(no_key)?;
    let blob = key.public_key().to_bytes().map_err(no_key)?;
    let question = Question::Certify { ticket: new.text.clone(), key: blob };
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

async fn dial(worker: &Rc<Worker>, new: &New) -> Result<TcpStream, End> {
    let console = &new.opening.console;
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
