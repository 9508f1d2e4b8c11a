//! RFB (RFC 6143), as far as a gate has to know it: the handshake with a server, the one with a browser, and what a
//! browser may say that only looks.

pub(crate) mod looking;
mod security;

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

pub(crate) use security::answer;

use config::limits;

/// Why a VNC server's screen is not shown. What it says is for whoever opens the console.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RfbError {
    #[error("the console of the VM closed the connection while it was opened")]
    Io(#[from] io::Error),
    #[error("the console of the VM does not speak VNC")]
    NotRfb,
    #[error("the console of the VM refused the gate: {0}")]
    Refused(String),
    #[error("the console of the VM refused the VNC password that the gate has for it")]
    WrongPassword,
    #[error("the console of the VM wants a VNC password, and the gate has none for it")]
    NoPassword,
    #[error("the console of the VM offers no way to log in that the gate knows (none or VNC password)")]
    NoKnownSecurity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    V3_3,
    V3_7,
    V3_8,
}

pub(crate) const VERSION_LEN: usize = 12;
const NONE: u8 = 1;
const VNC: u8 = 2;

/// Reads `RFB 003.008\n`. Unknown minor numbers are what RFC 6143 § 7.1.1 says: 3.3 below, 3.8 above.
fn version(bytes: &[u8; VERSION_LEN]) -> Option<Version> {
    let text = std::str::from_utf8(bytes).ok()?;
    let numbers = text.strip_prefix("RFB ")?.strip_suffix('\n')?;
    let (major, minor) = numbers.split_once('.')?;
    let number = |text: &str| -> Option<u16> {
        let is_plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| text.parse().ok())?
    };
    Some(match (number(major)?, number(minor)?) {
        (3, 7) => Version::V3_7,
        (3, minor) if minor < 7 => Version::V3_3,
        (3.., _) => Version::V3_8,
        _ => return None,
    })
}

/// Makes a server ready for a ClientInit: version, security, its result.
pub(crate) async fn enter<S>(server: &mut S, password: Option<&str>) -> Result<(), RfbError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut theirs = [0; VERSION_LEN];
    server.read_exact(&mut theirs).await?;
    let version = version(&theirs).ok_or(RfbError::NotRfb)?;
    let ours: &[u8] = match version {
        Version::V3_3 => b"RFB 003.003\n",
        Version::V3_7 => b"RFB 003.007\n",
        Version::V3_8 => b"RFB 003.008\n",
    };
    server.write_all(ours).await?;
    let chosen = if version == Version::V3_3 {
        match server.read_u32().await? {
            0 => return Err(RfbError::Refused(reason(server).await)),
            number => {
                let known = u8::try_from(number).ok().filter(|known| matches!(*known, NONE | VNC));
                known.ok_or(RfbError::NoKnownSecurity)?
            }
        }
    } else {
        let count = server.read_u8().await?;
        if count == 0 {
            return Err(RfbError::Refused(reason(server).await));
        }
        let mut types = vec![0; count.into()];
        server.read_exact(&mut types).await?;
        let chosen = choose(&types, password.is_some())?;
        server.write_all(&[chosen]).await?;
        chosen
    };
    if chosen == VNC {
        let password = password.ok_or(RfbError::NoPassword)?;
        let mut challenge = [0; 16];
        server.read_exact(&mut challenge).await?;
        server.write_all(&answer(password, &challenge)).await?;
    }
    let tells = chosen == VNC || version == Version::V3_8;
    if tells && server.read_u32().await? != 0 {
        if chosen == VNC {
            return Err(RfbError::WrongPassword);
        }
        return Err(RfbError::Refused(reason(server).await));
    }
    Ok(())
}

/// The password if there is one and the server takes it, else nothing at all.
fn choose(types: &[u8], has_password: bool) -> Result<u8, RfbError> {
    match (types.contains(&VNC), types.contains(&NONE)) {
        (true, _) if has_password => Ok(VNC),
        (_, true) => Ok(NONE),
        (true, false) => Err(RfbError::NoPassword),
        (false, false) => Err(RfbError::NoKnownSecurity),
    }
}

/// What a server says about its refusal, as far as it can be shown.
async fn reason<S: AsyncRead + Unpin>(server: &mut S) -> String {
    let mut text = Vec::new();
    if let Ok(len) = server.read_u32().await {
        let len = u64::from(len).min(limits::RFB_REASON_BYTES_MAX as u64);
        // As much as comes.
        let _ = server.take(len).read_to_end(&mut text).await;
    }
    let shown = String::from_utf8_lossy(&text);
    let shown: String = shown.chars().filter(|c| !c.is_control()).take(60).collect();
    if shown.is_empty() { "it gave no reason".to_owned() } else { shown }
}

/// A browser as the handshake sees it.
pub(crate) trait Browser {
    /// Sends it bytes.
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Reads as many bytes as there is room for.
    async fn fill(&mut self, into: &mut [u8]) -> io::Result<()>;
}

/// Why a browser's handshake ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrowserError {
    #[error("the browser left")]
    Io(#[from] io::Error),
    #[error("the browser does not speak RFB")]
    NotRfb,
}

/// Shows a browser a server that wants nothing, up to its ClientInit, which is returned.
pub(crate) async fn welcome(browser: &mut impl Browser) -> Result<u8, BrowserError> {
    browser.send(b"RFB 003.008\n").await?;
    let mut theirs = [0; VERSION_LEN];
    browser.fill(&mut theirs).await?;
    let version = version(&theirs).ok_or(BrowserError::NotRfb)?;
    let mut byte = [0];
    if version == Version::V3_3 {
        browser.send(&[0, 0, 0, NONE]).await?;
    } else {
        browser.send(&[1, NONE]).await?;
        browser.fill(&mut byte).await?;
        if byte != [NONE] {
            return Err(BrowserError::NotRfb);
        }
        if version == Version::V3_8 {
            browser.send(&[0; 4]).await?;
        }
    }
    browser.fill(&mut byte).await?;
    Ok(u8::from(byte != [0]))
}

#[cfg(test)]
mod tests;
