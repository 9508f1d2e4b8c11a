//! The admin API over HTTP.

use std::sync::Arc;

use axum::Router;

use crate::app::App;

/// The whole API. Listeners add [`crate::auth::Origin`], and the unix socket's [`crate::auth::Actor::Local`], as
/// request extensions.
pub fn router(app: Arc<App>) -> Router {
    Router::new().with_state(app)
}
