//! What `gatehouse up` needs of control, on the unix socket alone: no part of the API and free to change with `up`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{Router, get, post};
use config::name::GatewayName;
use serde::Deserialize;

use crate::app::{App, join_token};
use crate::publish::gateways::Names;
use crate::up::ready::{Connected, Listening, Report};

/// What the handlers see.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub(super) app: Arc<App>,
    pub(super) names: Names,
}

/// The routes of `up`.
pub(super) fn router(local: Local) -> Router {
    Router::new()
        .route(crate::up::REPORT_PATH, get(report))
        .route(crate::up::JOIN_PATH, post(token))
        .with_state(local)
}

async fn report(State(local): State<Local>) -> Json<Report> {
    let addresses = local.app.addresses();
    let gateways = local.app.gateways.all().into_iter().filter(|(_, said)| said.streams > 0);
    let gateways = gateways.filter_map(|(id, said)| {
        let listeners = said.listeners.into_iter();
        Some(Connected {
            name: local.names.of(id)?.to_string(),
            acked: said.acked.map(|generation| generation.0),
            listeners: listeners.map(|one| Listening { kind: one.kind, address: one.address }).collect(),
        })
    });
    Json(Report {
        gateways: gateways.collect(),
        admin: addresses.admin,
        admin_tls: addresses.admin_tls,
        sync: addresses.sync,
    })
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
}

async fn token(State(local): State<Local>, Json(wanted): Json<Wanted>) -> Response {
    let Ok(name) = GatewayName::parse(&wanted.name) else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    match join_token::local(&local.app, &name).await {
        Ok(word) => Json(serde_json::json!({ "token": word.expose() })).into_response(),
        Err(error) => {
            tracing::error!(%error, "no join token could be made for the gateway of this machine");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
