//! What a change of a forward has come to at the gateways, said once they have answered.
//!
//! The change is kept whatever they say. Where one that is connected cannot do as it wants — a port that another program
//! has, a refused generation — the command ends with 1, so that a script does not go on as if the port were there. One
//! that is away or slow is named and no failure: it follows as soon as it can.

use serde_json::Value;

use super::super::client::Client;
use super::super::failure::Failure;
use super::super::output::{self, Printer};
use super::super::put;
use super::{LIST, text, warn};

/// Waits for the gateways, within a bound, and says how it went.
///
/// Errors: a gateway that is connected does not do what the change wants.
pub(super) async fn tell(
    client: &Client,
    printer: &Printer,
    mut object: Value,
    sentence: &str,
) -> Result<(), Failure> {
    warn(&object);
    let said = match client.settled(&format!("{LIST}/{}/gateways", text(&object, "id"))).await {
        Ok(said) => said,
        Err(failure) => {
            printer.done(&object, sentence);
            return Err(Failure::failed(format!("what the gateways made of it cannot be asked: {failure}")));
        }
    };
    for warning in said.iter().filter_map(warning) {
        output::err(&format!("gatehouse: warning: {warning}\n"));
    }
    if said.iter().all(|one| text(one, "state") == "away") {
        output::err(
            "gatehouse: warning: no gateway is connected; the first that comes takes it from control\n",
        );
    }
    let failed: Vec<&str> =
        said.iter().filter(|one| fails(text(one, "state"))).map(|one| text(one, "gateway")).collect();
    let sentence = format!("{sentence}{}", done(&said));
    put(&mut object, "gateways", Some(said.clone()));
    printer.done(&object, &sentence);
    if failed.is_empty() {
        return Ok(());
    }
    let advice = "the change is kept, and tried again; `gatehouse diagnose forward` says what to do";
    Err(Failure::failed(format!("gateway {} does not do it: {advice}", failed.join(", "))))
}

fn fails(state: &str) -> bool {
    matches!(state, "paused" | "refused" | "closing")
}

/// `, listening on gw1, gw2`, or nothing where none of them has followed.
fn done(said: &[Value]) -> String {
    let mut words = String::new();
    for (state, how) in [("listening", "listening"), ("off", "closed"), ("closed", "closed")] {
        let names: Vec<_> =
            said.iter().filter(|one| text(one, "state") == state).map(|one| text(one, "gateway")).collect();
        if !names.is_empty() {
            words.push_str(&format!("; {how} on {}", names.join(", ")));
        }
    }
    words
}

/// What somebody should know of one gateway.
fn warning(one: &Value) -> Option<String> {
    let (gateway, state, why) = (text(one, "gateway"), text(one, "state"), text(one, "why"));
    match state {
        "listening" | "off" | "closed" => None,
        _ => Some(format!("gateway {gateway}: {state}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_gateway_that_did_not_follow_is_named_with_what_it_said() {
        let said = [
            json!({"gateway": "gw1", "state": "listening", "why": null}),
            json!({"gateway": "gw2", "state": "paused", "why": "0.0.0.0:22/tcp is taken by another program"}),
            json!({"gateway": "gw3", "state": "away", "why": "it is not connected"}),
            json!({"gateway": "gw4", "state": "listening", "why": null}),
        ];
        assert_eq!(done(&said), "; listening on gw1, gw4");
        let warnings: Vec<_> = said.iter().filter_map(warning).collect();
        assert_eq!(
            warnings,
            [
                "gateway gw2: paused: 0.0.0.0:22/tcp is taken by another program",
                "gateway gw3: away: it is not connected"
            ]
        );
        assert!(fails("paused") && fails("closing") && fails("refused"));
        assert!(
            !fails("away") && !fails("waiting") && !fails("listening") && !fails("closed") && !fails("off")
        );
    }
}
