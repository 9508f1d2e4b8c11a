//! `gatehouse route …`.

pub(super) mod body;
mod endpoint;
mod passwords;

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
        RouteCommand::Add { host, mut target, more, path, namespace, fields } => {
            target.extend(more);
            let mut body = json!({ "host": host, "path": path });
            put(&mut body, "targets", (!target.is_empty()).then(|| target.clone()));
            put(&mut body, "namespace", namespace);
            put_fields(&mut body, &fields)?;
            body::put_options(&mut body, &fields.options, &[])?;
            let made = client.post(LIST, &body).await?.body;
            let leads = if target.is_empty() { "an answer of its own".to_owned() } else { target.join(", ") };
            printer.done(&made, &format!("route {} -> {leads} added", said(&made, "host", &host)));
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
            put_fields(&mut body, &fields)?;
            let address = address(client, &route).await?;
            let there = if fields.options.filters.basic_auth.is_empty() {
                Vec::new()
            } else {
                users(&client.get(&address).await?.body)
            };
            body::put_options(&mut body, &fields.options, &there)?;
            if body == json!({}) {
                return Err(Failure::usage("nothing to change was given"));
            }
            let changed = client.patch(&address, &body).await?.body;
            printer.done(&changed, &format!("route {} changed", route.route));
        }
        RouteCommand::Endpoint(command) => endpoint::run(client, printer, command).await?,
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

fn put_fields(body: &mut Value, fields: &RouteFields) -> Result<(), Failure> {
    let tls = fields.tls.and_then(|tls| tls.to_possible_value()).map(|tls| tls.get_name().to_owned());
    put(body, "tls", tls);
    put(body, "certificate", fields.certificate.clone());
    let mut policy = json!({});
    put(&mut policy, "min_version", fields.tls_min.clone());
    put(&mut policy, "client_ca_pem", bundle(&fields.client_ca)?);
    put(&mut policy, "client_crl_pem", bundle(&fields.client_crl)?);
    put(body, "tls_policy", (policy != json!({})).then_some(policy));
    put(body, "websocket", fields.websocket.map(super::args::Switch::is_on));
    put(body, "redirect_https", fields.redirect_https.map(super::args::Switch::is_on));
    put(
        body,
        "hsts_seconds",
        fields.hsts.map(|seconds| if seconds == 0 { Value::Null } else { seconds.into() }),
    );
    put(body, "on_change", fields.on_change.clone());
    put(body, "on_delete", fields.on_delete.clone());
    put(body, "enabled", fields.enabled.map(super::args::Switch::is_on));
    put(body, "note", fields.note.clone());
    Ok(())
}

/// The text of several PEM files as one.
fn bundle(files: &[std::path::PathBuf]) -> Result<Option<String>, Failure> {
    let mut text = String::new();
    for file in files {
        text.push_str(&body::read(file)?);
        text.push('\n');
    }
    Ok((!files.is_empty()).then_some(text))
}

/// The users that a route asks for already.
fn users(route: &Value) -> Vec<String> {
    let users = route.pointer("/filters/basic_auth/users").and_then(Value::as_array);
    let name = |user: &Value| user.get("name").and_then(Value::as_str).map(str::to_owned);
    users.into_iter().flatten().filter_map(name).collect()
}

fn said<'a>(object: &'a Value, field: &str, otherwise: &'a str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or(otherwise)
}
