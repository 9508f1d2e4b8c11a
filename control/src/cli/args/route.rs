//! Words of `route`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Switch;
use super::options::OptionFlags;

/// How the public side of a route is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tls {
    /// Plain HTTP.
    Off,
    /// A certificate of the internal authority.
    SelfSigned,
    /// A certificate that was uploaded.
    Upload,
    /// A certificate by ACME.
    Acme,
    /// TLS ends at the target.
    Passthrough,
}

/// What may be said about a route when it is made or changed.
#[derive(Debug, Clone, Default, Args)]
pub struct RouteFields {
    /// How the public side is protected; default off.
    #[arg(long)]
    pub tls: Option<Tls>,
    /// With --tls upload or acme: the certificate, by name or id; otherwise the one that covers the host.
    #[arg(long, value_name = "CERTIFICATE")]
    pub certificate: Option<String>,
    /// Oldest version of TLS that the host is served with: 1.2 (default) or 1.3.
    #[arg(long, value_name = "VERSION")]
    pub tls_min: Option<String>,
    /// PEM file of authorities: only clients with a certificate of one of them come in; repeatable.
    #[arg(long, value_name = "FILE")]
    pub client_ca: Vec<PathBuf>,
    /// PEM file of the certificates that those authorities revoked; repeatable.
    #[arg(long, value_name = "FILE")]
    pub client_crl: Vec<PathBuf>,
    /// Whether WebSockets pass; default off.
    #[arg(long)]
    pub websocket: Option<Switch>,
    /// Whether http answers with a redirect to https; default on unless --tls off.
    #[arg(long)]
    pub redirect_https: Option<Switch>,
    /// Strict-Transport-Security for this many seconds; 0 sends none.
    #[arg(long, value_name = "SECONDS")]
    pub hsts: Option<u32>,
    /// What a change does to open tunnels: keep, cut or a drain such as `drain 30s`.
    #[arg(long, value_name = "POLICY")]
    pub on_change: Option<String>,
    /// What deletion does to open tunnels: keep, cut or a drain such as `drain 30s`.
    #[arg(long, value_name = "POLICY")]
    pub on_delete: Option<String>,
    /// Whether it is in force.
    #[arg(long)]
    pub enabled: Option<Switch>,
    /// A remark.
    #[arg(long)]
    pub note: Option<String>,
    /// The rest.
    #[command(flatten)]
    pub options: OptionFlags,
}

/// Routes.
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Publishes a host.
    #[command(visible_alias = "create")]
    Add {
        /// Host name, `*.example.com`, or `*` for every other name.
        host: String,
        /// Where it leads: a URL such as http://10.0.0.5:8080 (or https, h2c, h2), or one of our own services: control,
        /// novnc, ttyd. More than one shares the load.
        #[arg(num_args = 1.., required_unless_present_any = ["more", "redirect", "respond", "options"])]
        target: Vec<String>,
        /// One more target; repeatable.
        #[arg(id = "more", long = "target", value_name = "URL")]
        more: Vec<String>,
        /// Path prefix.
        #[arg(long, default_value = "/")]
        path: String,
        /// Tenant that owns it.
        #[arg(long)]
        namespace: Option<String>,
        /// The rest.
        #[command(flatten)]
        fields: Box<RouteFields>,
    },
    /// Lists routes.
    #[command(visible_alias = "ls")]
    List {
        /// Only this tenant's.
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Shows one route.
    Show(RouteName),
    /// Changes one route.
    Update {
        /// Which.
        #[command(flatten)]
        route: RouteName,
        /// Where it leads from now on.
        #[arg(long, value_name = "URL")]
        target: Vec<String>,
        /// The rest.
        #[command(flatten)]
        fields: Box<RouteFields>,
    },
    /// The targets of one route.
    #[command(subcommand)]
    Endpoint(EndpointCommand),
    /// Deletes one route.
    #[command(visible_alias = "delete")]
    Rm(RouteName),
}

/// The targets of one route.
#[derive(Debug, Subcommand)]
pub enum EndpointCommand {
    /// Lists them with their share.
    #[command(visible_alias = "ls")]
    List(RouteName),
    /// Gives one no new requests but those that stick to it.
    Drain {
        /// Which route.
        #[command(flatten)]
        route: RouteName,
        /// Its target, as `list` shows it, or the id.
        target: String,
    },
    /// Gives one new requests again.
    Undrain {
        /// Which route.
        #[command(flatten)]
        route: RouteName,
        /// Its target, as `list` shows it, or the id.
        target: String,
    },
    /// Sets the share of one.
    Weight {
        /// Which route.
        #[command(flatten)]
        route: RouteName,
        /// Its target, as `list` shows it, or the id.
        target: String,
        /// From 1 to 256.
        weight: u16,
    },
}

/// Names one route.
#[derive(Debug, Clone, Args)]
pub struct RouteName {
    /// Host or id.
    pub route: String,
    /// Path prefix, where the host has several routes.
    #[arg(long)]
    pub path: Option<String>,
}
