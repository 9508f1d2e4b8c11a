//! `gatehouse route endpoint …`.

use serde_json::{Value, json};

use super::super::args::EndpointCommand;
use super::super::client::Client;
use super::super::failure::Failure;
use super::super::output::{Column, Printer};
use super::address;

const COLUMNS: &[Column] =
    &[("TARGET", "target"), ("WEIGHT", "weight"), ("DRAINING", "draining"), ("VM", "vm"), ("ID", "id")];

pub(super) async fn run(client: &Client, printer: &Printer, command: EndpointCommand) -> Result<(), Failure> {
    let (route, target, change, done) = match command {
        EndpointCommand::List(route) => {
            let route = client.get(&address(client, &route).await?).await?.body;
            printer.list(endpoints(&route), COLUMNS);
            return Ok(());
        }
        EndpointCommand::Drain { route, target } => (route, target, json!({"draining": true}), "drains"),
        EndpointCommand::Undrain { route, target } => {
            (route, target, json!({"draining": false}), "gets new requests again")
        }
        EndpointCommand::Weight { route, target, weight } => {
            (route, target, json!({ "weight": weight }), "has its new weight")
        }
    };
    let address = address(client, &route).await?;
    let shown = client.get(&address).await?.body;
    let id = choose(endpoints(&shown), &target)?;
    let changed = client.patch(&format!("{address}/endpoints/{id}"), &change).await?.body;
    printer.done(&changed, &format!("endpoint {target} of route {} {done}", route.route));
    Ok(())
}

fn endpoints(route: &Value) -> &[Value] {
    route.get("endpoints").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// By id, by the target as it is shown, or by it without its scheme.
fn choose(endpoints: &[Value], typed: &str) -> Result<String, Failure> {
    let text = |endpoint: &Value, name: &str| {
        endpoint.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let bare = |target: &str| {
        target.split_once("://").map_or(target, |(_, rest)| rest).trim_end_matches('/').to_owned()
    };
    let found = endpoints
        .iter()
        .find(|endpoint| text(endpoint, "id") == typed || bare(&text(endpoint, "target")) == bare(typed));
    found.map(|endpoint| text(endpoint, "id")).ok_or_else(|| {
        let known: Vec<_> = endpoints.iter().map(|endpoint| text(endpoint, "target")).collect();
        Failure::failed(format!("the route has no target {typed:?}; it has {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_named_by_its_target_or_its_id() {
        let endpoints = [
            json!({"id": "1", "target": "https://10.0.0.5:443"}),
            json!({"id": "2", "target": "https://a:1"}),
        ];
        for (typed, id) in
            [("https://10.0.0.5:443", "1"), ("10.0.0.5:443", "1"), ("2", "2"), ("https://a:1/", "2")]
        {
            assert_eq!(choose(&endpoints, typed).unwrap(), id);
        }
        assert!(choose(&endpoints, "b:1").unwrap_err().to_string().contains("https://a:1"));
    }
}
