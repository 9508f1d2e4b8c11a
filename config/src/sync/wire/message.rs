//! Messages and their bytes.
use crate::sync::message::{MalformedMessage, Message};

pub(crate) fn encode(_message: &Message) -> Vec<u8> {
    unimplemented!()
}

pub(crate) fn decode(_bytes: &[u8]) -> Result<Message, MalformedMessage> {
    unimplemented!()
}
