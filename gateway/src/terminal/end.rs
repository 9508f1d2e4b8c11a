//! Why a terminal ends, in words for a person.

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::protocol::ProtocolError;
use crate::console::Refusal;
use crate::session::EndReason;

/// Why a page is told to close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The shell ended by itself, with this status.
    Exited(Option<u32>),
    /// The VM closed the connection.
    Lost,
    /// No shell was opened, and why.
    NotOpened(String),
    /// The ticket opens nothing.
    Refused(Refusal),
    /// The page broke the protocol.
    Wrong(ProtocolError),
    /// A message is longer than a terminal takes.
    TooLarge,
    /// The page said nothing in time.
    Silent,
    /// The same ticket opened the terminal in another page.
    Elsewhere,
    /// There was nothing to come back to.
    Gone,
    /// The session is to end.
    Ordered(EndReason),
    /// The time for which its person has access by SSH is over.
    AccessOver,
    /// The page left, or its connection broke.
    PageLeft,
}

/// Room for a reason in a closing frame (RFC 6455 § 5.5), two bytes of it for the code.
const REASON_BYTES: usize = 123;
/// Codes of our own (RFC 6455 § 7.4.2): no shell was opened; the machine ended the connection.
const NOT_OPENED: u16 = 4000;
const LOST: u16 = 4001;

impl End {
    /// The closing frame; `None` where nobody reads it.
    pub(super) fn frame(&self) -> Option<CloseFrame> {
        let code = match self {
            Self::PageLeft => return None,
            Self::Exited(_) | Self::Ordered(EndReason::Idle) => CloseCode::Normal,
            // Not 1011, after which a page tries again: the ticket is used.
            Self::NotOpened(_) => CloseCode::Library(NOT_OPENED),
            Self::Lost => CloseCode::Library(LOST),
            Self::Wrong(_) | Self::Silent => CloseCode::Protocol,
            Self::TooLarge => CloseCode::Size,
            Self::Ordered(EndReason::Stopping) => CloseCode::Away,
            Self::Refused(refusal) if refusal.is_passing() => CloseCode::Again,
            Self::Refused(_)
            | Self::Elsewhere
            | Self::Gone
            | Self::AccessOver
            | Self::Ordered(EndReason::Cut | EndReason::Finished | EndReason::Broken) => CloseCode::Policy,
        };
        let reason = self.words();
        let cut = reason.floor_char_boundary(REASON_BYTES);
        Some(CloseFrame { code, reason: reason.get(..cut).unwrap_or_default().into() })
    }

    /// Why, where a closing frame has no room for it.
    pub(super) fn long(&self) -> Option<String> {
        let words = self.words();
        (words.len() > REASON_BYTES).then_some(words)
    }

    /// Why, in words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::PageLeft => "nobody came back to it in time".to_owned(),
            Self::Exited(None | Some(0)) => "the shell ended".to_owned(),
            Self::Exited(Some(status)) => format!("the shell ended with status {status}"),
            Self::Lost => "the VM closed the connection".to_owned(),
            Self::NotOpened(why) => why.clone(),
            Self::Refused(refusal) => refusal.sentence().to_owned(),
            Self::Wrong(error) => error.to_string(),
            Self::TooLarge => "a message is larger than a terminal takes".to_owned(),
            Self::Silent => "the page said nothing".to_owned(),
            Self::Elsewhere => "this terminal was opened in another page".to_owned(),
            Self::Gone => "this terminal has ended; ask for a new ticket".to_owned(),
            Self::AccessOver => "your access by SSH is over".to_owned(),
            Self::Ordered(EndReason::Idle) => "nothing moved for too long".to_owned(),
            Self::Ordered(EndReason::Stopping) => "the gate stops".to_owned(),
            Self::Ordered(EndReason::Cut | EndReason::Finished | EndReason::Broken) => {
                "this terminal was ended by a change or by somebody".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_said_and_fits_its_frame() {
        let long = End::NotOpened("ä".repeat(200)).frame().unwrap();
        assert!(long.reason.len() <= REASON_BYTES && long.reason.contains('ä'));
        assert_eq!(End::Exited(Some(3)).frame().unwrap().reason.as_str(), "the shell ended with status 3");
        assert!(End::PageLeft.frame().is_none());
        assert_eq!((End::Lost.long(), End::NotOpened("a".repeat(124)).long()), (None, Some("a".repeat(124))));
    }
}
