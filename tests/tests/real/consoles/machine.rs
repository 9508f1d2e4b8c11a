//! Machines with a screen: QEMU without a disk, whose firmware writes on it, and servers that are none.

use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tests::wait::wait_for;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::program::{Program, free_port, require};

/// A running QEMU with a VNC server on loopback.
pub(crate) struct Machine {
    program: Program,
    pub(crate) port: u16,
    /// Its own WebSocket.
    pub(crate) websocket: u16,
    _folder: TempDir,
}

impl Machine {
    /// Starts one, with a VNC password if there is one to be.
    pub(crate) async fn start(password: Option<&str>) -> Option<Self> {
        let qemu = require("qemu-system-x86_64")?;
        let folder = tempfile::tempdir().unwrap();
        // A display is a port from 5900 on.
        let (port, websocket) = (free_port(), free_port());
        let mut display = format!("127.0.0.1:{},websocket=127.0.0.1:{websocket}", port - 5900);
        let mut command = Command::new(qemu);
        command.args(["-accel", "tcg", "-m", "32", "-nic", "none", "-display", "none"]);
        if let Some(password) = password {
            let file = folder.path().join("password");
            std::fs::write(&file, password).unwrap();
            command.args(["-object", &format!("secret,id=vnc,file={}", file.display())]);
            display.push_str(",password-secret=vnc");
        }
        command.args(["-vnc", &display]);
        let program = Program::start(&mut command, &folder.path().join("log"));
        opens(port, &program).await;
        Some(Self { program, port, websocket, _folder: folder })
    }

    /// Starts one whose firmware speaks by a serial line, once somebody listens.
    pub(crate) async fn with_a_line() -> Option<Self> {
        let qemu = require("qemu-system-x86_64")?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new(qemu);
        command.args(["-accel", "tcg", "-m", "32", "-nic", "none", "-display", "none", "-no-user-config"]);
        // The firmware says what keys there are, and waits for one.
        command.args(["-machine", "pc,graphics=off", "-boot", "menu=on,splash-time=60000"]);
        command.args(["-serial", &format!("tcp:127.0.0.1:{port},server=on,wait=on")]);
        let program = Program::start(&mut command, &folder.path().join("log"));
        wait_for("it waits for somebody", || async { program.log().contains("waiting").then_some(()) }).await;
        Some(Self { program, port, websocket: 0, _folder: folder })
    }

    /// Takes the machine away.
    pub(crate) fn end(self) {
        drop(self.program);
    }
}

/// Debian's websockify in front of a port.
pub(crate) struct Websockify {
    _program: Program,
    pub(crate) port: u16,
    _folder: TempDir,
}

impl Websockify {
    pub(crate) async fn start(before: u16) -> Option<Self> {
        let websockify = require("websockify")?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new(websockify);
        command.arg(format!("127.0.0.1:{port}")).arg(format!("127.0.0.1:{before}"));
        let program = Program::start(&mut command, &folder.path().join("log"));
        opens(port, &program).await;
        Some(Self { _program: program, port, _folder: folder })
    }
}

async fn opens(port: u16, program: &Program) {
    wait_for("the port is open", || async {
        let is_open = TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(is_open || !program.log().contains("rror"), "{}", program.log());
        is_open.then_some(())
    })
    .await;
}

/// A server that says this, to each who comes, and then goes on with what `then` is.
pub(crate) async fn server(says: &'static [u8], then: Then) -> u16 {
    counting(says, then).await.0
}

/// The same, with how many bytes it could write.
pub(crate) async fn counting(says: &'static [u8], then: Then) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let written = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&written);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                stream.write_all(says).await?;
                let block = vec![b'x'; 64 * 1024];
                match then {
                    Then::Floods => loop {
                        counted.fetch_add(stream.write(&block).await? as u64, Ordering::Relaxed);
                    },
                    Then::Waits => std::future::pending::<std::io::Result<()>>().await,
                }
            });
        }
    });
    (port, written)
}

/// What a [`server`] does after its words.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    Waits,
    Floods,
}
