//! `gatehouse route …`.

use clap::ValueEnum;
use config::name::HostPattern;
use serde_json::{Value, json};

use super::args::{RouteCommand, RouteFields, RouteName};
use super::client::Client;
use super::failure::Failure;
use super::output::{Column, Printer};
use super::{put, resolve};

const LIST: &str = "/api/v1/routes";
const COLUMNS: &[Column] = &[
    ("HOST", "host"),
    ("PATH", "path"),
    ("TARGETS", "targets"),
    ("TLS", "tls"),
    ("WEBSOCKET", "websocket"),
    ("NAMESPACE", "namespace"),
    ("ENABLED", "enabled"),
    ("ID", "id"),
];

pub(super) async fn run(client: &Client, printer: &Printer, command: RouteCommand) -> Result<(), Failure> {
    match command {
        RouteCommand::Add { host, target, path, namespace, fields } => {
            let mut body = json!({ "host": host, "path": path, "targets": target });
            put(&mut body, "namespace", namespace);
            put_fields(&mut body, fields);
            let made = client.post(LIST, &body).await?.body;
            printer
                .done(&made, &format!("route {} -> {} added", said(&made, "host", &host), target.join(", ")));
        }
        RouteCommand::List { namespace } => {
            let filters: Vec<_> = namespace.as_deref().map(|n| ("namespace", n)).into_iter().collect();
            printer.list(&client.list(LIST, &filters).await?, COLUMNS);
        }
        RouteCommand::Show(route) => {
            printer.object(&client.get(&address(client, &route).await?).await?.body);
        }
        RouteCommand::Update { route, target, fields } => {
            let mut body = json!({});
            put(&mut body, "targets", (!target.is_empty()).then_some(target));
            put_fields(&mut body, fields);
            if body == json!({}) {
                return Err(Failure::usage("nothing to change was given"));
            }
            let changed = client.patch(&address(client, &route).await?, &body).await?.body;
            printer.done(&changed, &format!("route {} changed", route.route));
        }
        RouteCommand::Rm(route) => {
            let gone = client.delete(&address(client, &route).await?).await?.body;
            printer.done(&gone, &format!("route {} deleted", route.route));
        }
    }
    Ok(())
}

async fn address(client: &Client, route: &RouteName) -> Result<String, Failure> {
    // Folded as control folds it, so that what was typed at `add` also finds it.
    let host = HostPattern::parse(&route.route).map_or_else(|_| route.route.clone(), |host| host.to_string());
    let wanted = resolve::Wanted { noun: "route", list: LIST, field: "host", typed: &host };
    let id = resolve::id(client, wanted, &[("path", route.path.as_deref())]).await?;
    Ok(format!("{LIST}/{id}"))
}

fn put_fields(body: &mut Value, fields: RouteFields) {
    let tls = fields.tls.and_then(|tls| tls.to_possible_value()).map(|tls| tls.get_name().to_owned());
    put(body, "tls", tls);
    put(body, "websocket", fields.websocket.map(super::args::Switch::is_on));
    put(body, "redirect_https", fields.redirect_https.map(super::args::Switch::is_on));
    put(
        body,
        "hsts_seconds",
        fields.hsts.map(|seconds| if seconds == 0 { Value::Null } else { seconds.into() }),
    );
    put(body, "on_change", fields.on_change);
    put(body, "on_delete", fields.on_delete);
    put(body, "enabled", fields.enabled.map(super::args::Switch::is_on));
    put(body, "note", fields.note);
}

fn said<'a>(object: &'a Value, field: &str, otherwise: &'a str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or(otherwise)
}
