//! Terminals in the browser, spoken to as the page speaks, with a real sshd behind them.

mod ends;
mod held;
mod tickets;

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::sshd::{KeyPair, Sshd};
use tests::stack::Stack;
use tests::wait::{wait_for, within};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

/// A VM with an SSH console, and the real sshd behind it.
struct World {
    stack: Stack,
    sshd: Sshd,
    vm: String,
    console: String,
}

impl World {
    async fn start() -> Self {
        Self::start_as(&[&KeyPair::make("host")]).await
    }

    /// With these host keys.
    async fn start_as(host_keys: &[&KeyPair]) -> Self {
        let stack = Stack::start().await;
        let sshd = Sshd::start_trusting_as(&authority(&stack).await, host_keys).await;
        let address = sshd.address();
        let vm = json!({ "name": "web-01", "address": address.ip().to_string(), "ssh_port": address.port() });
        let vm = stack.api.post("/api/v1/vms", vm).await["id"].as_str().unwrap().to_owned();
        let console = json!({ "vm": "web-01", "kind": "ssh", "port": address.port() });
        let console = stack.api.post("/api/v1/consoles", console).await["id"].as_str().unwrap().to_owned();
        Self { stack, sshd, vm, console }
    }

    async fn ticket(&self) -> String {
        self.ticket_with(json!({})).await
    }

    async fn ticket_with(&self, body: Value) -> String {
        let made = self.stack.api.post(&format!("/api/v1/consoles/{}/tickets", self.console), body).await;
        made["ticket"].as_str().unwrap().to_owned()
    }

    /// The VM's SSH server is another one from here on.
    async fn moved(&self, port: u16) {
        let path = format!("/api/v1/consoles/{}", self.console);
        let tag = format!("\"{}\"", self.stack.api.get(&path).await["revision"]);
        let moved = json!({ "port": port });
        let changed = self.stack.api.call_with("PATCH", &path, &[("If-Match", &tag)], Some(&moved)).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
    }

    /// Opens a terminal, once the gateway has heard of the console: a refused ticket is not used up.
    async fn open(&self, ticket: &str) -> Page {
        self.open_as(ticket, (100, 30)).await
    }

    /// The same with a window of so many columns and rows.
    async fn open_as(&self, ticket: &str, size: (u32, u32)) -> Page {
        wait_for("the terminal opens", || async {
            Page::open_as(self.stack.ttyd(0), ticket, size).await.ok()
        })
        .await
    }
}

async fn authority(stack: &Stack) -> String {
    let keys = stack.api.get("/api/v1/ssh-host-keys").await;
    keys["user_authority"].as_str().expect("there is an authority").to_owned()
}

/// What our page keeps for itself.
const SECRET: &str = "a secret of forty-three characters, as a page";

/// What the page does.
struct Page {
    socket: WebSocketStream<TcpStream>,
    printed: String,
}

impl Page {
    async fn open(address: SocketAddr, ticket: &str) -> Result<Self, Error> {
        Self::open_as(address, ticket, (100, 30)).await
    }

    async fn open_as(address: SocketAddr, ticket: &str, size: (u32, u32)) -> Result<Self, Error> {
        let mut page = Self::shown(address, ticket, "127.0.0.1").await?;
        page.hello(size, SECRET).await;
        Ok(page)
    }

    /// A page whose handshake was answered, from this address; it has said nothing yet.
    async fn shown(address: SocketAddr, ticket: &str, from: &str) -> Result<Self, Error> {
        let url = format!("ws://{address}/ws?token={ticket}");
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", "tty".parse().unwrap());
        let from = SocketAddr::new(from.parse().unwrap(), 0);
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(from).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let (socket, answer) =
            within("the handshake", tokio_tungstenite::client_async(request, stream)).await?;
        assert_eq!(answer.headers()["sec-websocket-protocol"], "tty");
        Ok(Self { socket, printed: String::new() })
    }

    async fn hello(&mut self, (columns, rows): (u32, u32), secret: &str) {
        let hello = json!({ "AuthToken": "", "columns": columns, "rows": rows, "secret": secret });
        self.socket.send(Message::Binary(hello.to_string().into_bytes().into())).await.unwrap();
    }

    async fn send(&mut self, kind: char, rest: &str) {
        self.say(kind, rest).await.unwrap();
    }

    async fn say(&mut self, kind: char, rest: &str) -> Result<(), Error> {
        let message = format!("{kind}{rest}").into_bytes();
        self.socket.send(Message::Binary(message.into())).await
    }

    async fn run(&mut self, line: &str) {
        self.send('0', &format!("{line}\r")).await;
    }

    /// Reads until this was printed; gives all that was printed up to there.
    async fn prints(&mut self, wanted: &str) -> String {
        within(&format!("the terminal prints {wanted:?}"), async {
            while !self.printed.contains(wanted) {
                match self.next().await {
                    Ok(text) => self.printed.push_str(&text),
                    Err(end) => panic!("ended with {end:?} before {wanted:?}: {:?}", self.printed),
                }
            }
        })
        .await;
        std::mem::take(&mut self.printed)
    }

    /// How it ends.
    async fn ends(&mut self) -> CloseFrame {
        within("the terminal ends", async {
            loop {
                if let Err(end) = self.next().await {
                    return end.expect("a closing frame");
                }
            }
        })
        .await
    }

    async fn next(&mut self) -> Result<String, Option<CloseFrame>> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) if matches!(bytes.first(), Some(b'0' | b'3')) => {
                    return Ok(String::from_utf8_lossy(&bytes[1..]).into_owned());
                }
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }
}

#[tokio::test]
async fn a_person_types_resizes_loses_the_network_and_finds_the_shell_again() {
    let world = World::start().await;
    let ticket = world.ticket().await;
    let mut page = world.open(&ticket).await;
    page.run("PS1='$ '; echo it-is-$((40 + 2))").await;
    page.prints("it-is-42").await;
    page.run("stty size").await;
    page.prints("30 100").await;
    page.send('1', &json!({ "columns": 132, "rows": 50 }).to_string()).await;
    page.run("stty size").await;
    page.prints("50 132").await;
    page.run("printf 'gr\\303\\274%s\\n' 'ße 漢字'").await;
    page.prints("grüße 漢字").await;
    page.run("echo pid-is-$$-").await;
    let mut printed = page.prints("-\r\n").await;
    while number_after(&printed, "pid-is-").is_none() {
        printed.push_str(&page.prints("-\r\n").await);
    }
    let pid = number_after(&printed, "pid-is-").unwrap();

    // The network goes away without a word; the shell goes on printing.
    page.run("(sleep 1; echo printed-mean''while) &").await;
    page.prints("while) &").await;
    drop(page);
    let mut page = world.open(&ticket).await;
    let replay = page.prints("printed-meanwhile").await;
    assert!(replay.contains("it-is-42"), "what was on the screen comes back: {replay:?}");
    page.run("echo again-$$-").await;
    page.prints(&format!("again-{pid}-")).await;
    page.run("stty size").await;
    page.prints("30 100").await;

    // A second page of the same browser takes over; the first one is told.
    let mut second = world.open(&ticket).await;
    assert_eq!(page.ends().await.reason.as_str(), "this terminal was opened in another page");
    second.prints("again-").await;
    second.run("exit 3").await;
    assert_eq!(second.ends().await.reason.as_str(), "the shell ended with status 3");

    let Err(Error::Http(refused)) = Page::open(world.stack.ttyd(0), &ticket).await else {
        panic!("an ended terminal was opened again")
    };
    assert_eq!(refused.status(), 403);
}

/// Programs that fill their screen draw it when the size changes, and a page that comes back has an empty one.
#[tokio::test]
async fn a_page_that_comes_back_as_large_as_before_makes_programs_draw_their_screen() {
    let world = World::start().await;
    let ticket = world.ticket().await;
    let mut page = world.open(&ticket).await;
    page.run("trap 'echo drawn-for-$(stty size | tr \" \" x)-' WINCH; echo be''gun; while :; do sleep 1 & wait $!; done").await;
    page.prints("begun").await;
    drop(page);
    let mut page = world.open(&ticket).await;
    page.prints("drawn-for-29x100-").await;
    page.prints("drawn-for-30x100-").await;
}

/// By the secret a page is known again, and by nothing else: people behind one address have one address.
#[tokio::test]
async fn a_page_is_known_by_its_secret_wherever_it_comes_from_and_nobody_else_is() {
    let world = World::start().await;
    let bound = json!({ "source": "127.0.0.1" });
    let ticket = world.ticket_with(bound).await;
    let mut page = world.open(&ticket).await;
    page.run("echo mine-$((40 + 2))").await;
    page.prints("mine-42").await;

    let gate = world.stack.ttyd(0);
    for secret in ["another secret of forty-three characters ...", ""] {
        let mut neighbour = Page::shown(gate, &ticket, "127.0.0.1").await.unwrap();
        if secret.is_empty() {
            neighbour.socket.send(Message::binary(&b"{}"[..])).await.unwrap();
        } else {
            neighbour.hello((80, 24), secret).await;
        }
        let end = neighbour.ends().await;
        assert_eq!((u16::from(end.code), end.reason.contains("used already")), (1008, true), "{end:?}");
    }
    page.run("echo still-$((40 + 3))").await;
    page.prints("still-43").await;

    // Another network, and the same page.
    let mut moved = Page::shown(gate, &ticket, "127.0.0.2").await.expect("it is answered while it is open");
    moved.hello((80, 24), SECRET).await;
    moved.prints("still-43").await;
    assert_eq!(page.ends().await.reason.as_str(), "this terminal was opened in another page");
    moved.run("exit").await;
    assert_eq!(moved.ends().await.reason.as_str(), "the shell ended");

    let unused = world.ticket_with(json!({ "source": "127.0.0.1" })).await;
    let Err(Error::Http(refused)) = Page::shown(gate, &unused, "127.0.0.2").await else {
        panic!("a ticket for one address opened a terminal at another")
    };
    let body = String::from_utf8(refused.into_body().unwrap()).unwrap();
    assert!(body.contains("another address"), "{body}");
}

/// A network that breaks at the worst moment costs a person nothing but patience.
#[tokio::test]
async fn a_page_that_is_lost_before_its_shell_is_open_has_lost_nothing() {
    let world = World::start().await;
    let ticket = world.ticket().await;
    wait_for("the gateway has heard of the console", || async {
        Page::shown(world.stack.ttyd(0), &ticket, "127.0.0.1").await.ok().map(drop)
    })
    .await;
    // After its first message, while the gate logs in.
    drop(world.open(&ticket).await);
    let mut page = world.open(&ticket).await;
    page.run("echo shells-$((40 + 2))").await;
    page.prints("shells-42").await;
    let sessions = world.stack.api.get("/api/v1/sessions").await;
    assert_eq!(sessions["items"].as_array().unwrap().len(), 1, "{sessions}");
}

/// Nobody saw it end, so whoever comes back is told how.
#[tokio::test]
async fn a_page_that_comes_back_after_the_end_is_told_how_it_ended() {
    let world = World::start().await;
    let ticket = world.ticket().await;
    let mut page = world.open(&ticket).await;
    page.run("echo go''ne; sleep 1; exit 7").await;
    page.prints("gone").await;
    drop(page);
    wait_for("the terminal has ended", || async {
        let sessions = world.stack.api.get("/api/v1/sessions").await;
        sessions["items"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    let end = world.open(&ticket).await.ends().await;
    assert_eq!(end.reason.as_str(), "the shell ended with status 7");
}

/// More than is remembered went by since, and its beginning is a line's.
#[tokio::test]
async fn a_page_that_comes_back_is_told_first_which_screen_is_shown() {
    let world = World::start().await;
    let ticket = world.ticket().await;
    let mut page = world.open(&ticket).await;
    page.run("printf '\\033[?1049h'; seq 100000 199999; echo al''l").await;
    page.prints("all").await;
    drop(page);
    let mut page = world.open(&ticket).await;
    let replay = page.prints("all").await;
    let lines = replay.strip_prefix("\u{1b}[?1049h").unwrap_or_else(|| panic!("{:?}", &replay[..40]));
    let first: u32 = lines.lines().next().unwrap().trim().parse().expect("a whole line");
    assert!((100_001..=199_999).contains(&first) && lines.len() <= 256 * 1024, "{first}");
}

/// A program that takes no input holds nothing up but its input.
#[tokio::test]
async fn the_newest_size_arrives_while_input_is_stuck() {
    let world = World::start().await;
    let ticket = world.ticket().await;
    let mut page = world.open(&ticket).await;
    // In the background a reader of sizes, in front a program that reads nothing.
    page.run("(while :; do echo \"size-$(stty size < /dev/tty | tr ' ' x)-\"; sleep 0.2; done) &").await;
    page.run("stty raw -echo -tostop; exec tail -f /dev/null").await;
    page.prints("size-30x100-").await;
    held::stuff(&mut page).await;
    drop(page);
    let mut page = world.open_as(&ticket, (132, 50)).await;
    page.prints("size-50x132-").await;
}

fn number_after(text: &str, mark: &str) -> Option<u32> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    text.split(mark).skip(1).find_map(|rest| digits(rest).parse().ok())
}

#[tokio::test]
async fn a_host_key_is_pinned_at_first_sight_and_another_one_is_refused_until_accepted() {
    let world = World::start().await;
    let mut page = world.open(&world.ticket().await).await;
    page.run("exit").await;
    assert_eq!(page.ends().await.reason.as_str(), "the shell ended");
    let keys = format!("/api/v1/vms/{}/host-keys", world.vm);
    let pinned = world.stack.api.get(&keys).await;
    assert_eq!((pinned.as_array().unwrap().len(), &pinned[0]["state"]), (1, &"accepted".into()), "{pinned}");

    // Somebody else answers at the VM's address.
    let other = Sshd::start_trusting(&authority(&world.stack).await).await;
    world.moved(other.address().port()).await;
    let end = world.open(&world.ticket().await).await.ends().await;
    assert!(end.reason.contains("another SSH host key"), "{end:?}");

    let shown = world.stack.api.get(&keys).await;
    let new = shown.as_array().unwrap().iter().find(|key| key["state"] == "refused").expect("it is shown");
    let accept = json!({ "fingerprint": new["fingerprint"], "state": "accepted" });
    assert_eq!(world.stack.api.call("POST", &keys, Some(&accept)).await.status, 200);
    let mut page = world.open(&world.ticket().await).await;
    page.run("echo let-$((1 + 1))-in").await;
    page.prints("let-2-in").await;

    let wrong = json!({ "fingerprint": "SHA256:nothing", "state": "trusted" });
    let refused = world.stack.api.call("POST", &keys, Some(&wrong)).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    let audits = world.stack.api.get("/api/v1/audits?limit=50").await;
    let actions: Vec<&Value> = audits["items"].as_array().unwrap().iter().map(|row| &row["action"]).collect();
    for action in ["pin-host-key", "refuse-host-key", "accept-host-key", "certify"] {
        assert!(actions.iter().any(|seen| **seen == action), "{action} is not among {actions:?}");
    }
    drop(world.sshd);
}

#[tokio::test]
async fn a_vm_whose_only_host_key_is_rsa_is_reached_and_may_gain_a_newer_one() {
    let rsa = KeyPair::make_as("rsa", "host");
    let world = World::start_as(&[&rsa]).await;
    let mut page = world.open(&world.ticket().await).await;
    page.run("exit 2").await;
    assert_eq!(page.ends().await.reason.as_str(), "the shell ended with status 2");

    // The key that is pinned is asked for, though a newer kind would be preferred.
    let gained =
        Sshd::start_trusting_as(&authority(&world.stack).await, &[&KeyPair::make("new"), &rsa]).await;
    world.moved(gained.address().port()).await;
    let mut page = world.open(&world.ticket().await).await;
    page.run("exit 4").await;
    assert_eq!(page.ends().await.reason.as_str(), "the shell ended with status 4");
    let keys = world.stack.api.get(&format!("/api/v1/vms/{}/host-keys", world.vm)).await;
    assert_eq!(keys.as_array().unwrap().len(), 1, "{keys}");
}

#[tokio::test]
async fn without_control_nobody_is_logged_in_and_what_is_open_stays_open() {
    let mut world = World::start().await;
    let (first, second) = (world.ticket().await, world.ticket().await);
    let mut page = world.open(&first).await;
    page.run("echo open-$((1 + 1))").await;
    page.prints("open-2").await;
    world.stack.stop_control().await;
    page.run("echo still-$((1 + 2))").await;
    page.prints("still-3").await;
    let end = world.open(&second).await.ends().await;
    assert!(end.reason.contains("control is away"), "{end:?}");
}

/// Control goes away after it certified the gate's key and before the VM's is seen: a known one needs nobody, and nothing
/// is typed to a stranger.
#[tokio::test]
async fn without_control_a_host_key_that_is_not_known_is_refused_and_a_known_one_is_not() {
    for is_known in [false, true] {
        let mut world = World::start().await;
        if is_known {
            let mut page = world.open(&world.ticket().await).await;
            page.run("exit").await;
            assert_eq!(page.ends().await.reason.as_str(), "the shell ended");
        }
        // The VM answers late: by then the gate has its certificate.
        let late = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        world.moved(late.local_addr().unwrap().port()).await;
        in_force(&world).await;
        let ticket = world.ticket().await;
        let (mut page, met) = tokio::join!(world.open(&ticket), late.accept());
        let (mut gate, _) = met.unwrap();
        world.stack.stop_control().await;
        let mut sshd = TcpStream::connect(world.sshd.address()).await.unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut gate, &mut sshd).await });
        if is_known {
            page.run("echo known-$((1 + 1))").await;
            page.prints("known-2").await;
        } else {
            let end = page.ends().await;
            assert!(end.reason.contains("is not known yet and control is away"), "{end:?}");
            assert_eq!(u16::from(end.code), 4000);
        }
    }
}

/// Waits until the gate knows what control knows.
async fn in_force(world: &World) {
    wait_for("the newest is in force", || async {
        let gateways = world.stack.api.get("/api/v1/gateways").await;
        let gate = &gateways["items"][0];
        (gate["generation"].is_u64() && gate["generation"] == gate["desired"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_page_that_breaks_the_protocol_and_a_vm_that_is_no_ssh_server_are_named() {
    let world = World::start().await;
    let mut page = world.open(&world.ticket().await).await;
    page.send('9', "").await;
    let end = page.ends().await;
    assert_eq!((u16::from(end.code), end.reason.contains("begins with")), (1002, true), "{end:?}");

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.moved(silent.local_addr().unwrap().port()).await;
    let ticket = world.ticket().await;
    let (mut page, met) = tokio::join!(world.open(&ticket), silent.accept());
    drop(met);
    let end = page.ends().await;
    assert!(end.reason.contains("does not speak SSH"), "{end:?}");
}
