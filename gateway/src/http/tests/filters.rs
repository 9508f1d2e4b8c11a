//! What routes say to requests and answers, over whole connections.

pub(super) mod access;
mod actions;
mod bounds;
mod changes;
mod intruder;
mod shared;

use config::snapshot::{Action, Content, Edit, FieldEdit, Filters, Redirect, Respond, Route};

use super::stage::Stage;

pub(super) fn content(media_type: &str, body: &str) -> Content {
    Content { media_type: media_type.into(), body: body.as_bytes().into() }
}

pub(super) fn respond(status: u16, body: &str) -> Action {
    Action::Respond(Respond { status, content: content("text/x-own", body) })
}

pub(super) fn redirect(status: u16, to: &str) -> Action {
    Action::Redirect(Redirect { status, to: to.into(), keeps_rest: true })
}

pub(super) fn edit(name: &str, edit: Edit) -> FieldEdit {
    FieldEdit { name: name.into(), edit, always: false }
}

/// A route for everything with these filters, towards the origin.
pub(super) fn filtered(stage: &Stage, change: impl FnOnce(&mut Filters)) -> Route {
    let mut route = stage.route("app.example", "/");
    let mut filters = Filters::default();
    change(&mut filters);
    route.filters = Some(Box::new(filters));
    route
}

pub(super) fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n{fields}\r\n")
}

pub(super) fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: app.example\r\n{fields}\r\n{body}")
}
