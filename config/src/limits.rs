//! Every bound of the system, with its unit and reason. A limit that is not here does not exist.
//!
//! They stand by subject, and are named without it: `limits::SSH_CHANNELS_MAX`.

mod acme;
mod audit;
mod console;
mod control;
mod forward;
mod http;
mod http2;
mod process;
mod relay;
mod route;
mod ssh;
mod sync;
mod telemetry;
mod terminal;
mod tls;
mod upgrade;
mod upstream;

pub use acme::*;
pub use audit::*;
pub use console::*;
pub use control::*;
pub use forward::*;
pub use http::*;
pub use http2::*;
pub use process::*;
pub use relay::*;
pub use route::*;
pub use ssh::*;
pub use sync::*;
pub use telemetry::*;
pub use terminal::*;
pub use tls::*;
pub use upgrade::*;
pub use upstream::*;
