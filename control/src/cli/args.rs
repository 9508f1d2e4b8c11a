//! The words of the command line. Scripts outside this repository use them: add freely, change none (DESIGN §11).

pub mod acme;
pub mod cert;
pub mod forward;
pub mod options;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::acme::AcmeCommand;
pub use self::cert::{CaCommand, CertCommand};
use self::forward::{DiagnoseCommand, ForwardCommand};
pub use self::options::ExplainArgs;
use self::options::OptionFlags;

/// Publishes HTTP, HTTPS, WebSocket and SSH from virtual machines.
#[derive(Debug, Parser)]
#[command(name = "gatehouse", version, max_term_width = 110, disable_help_subcommand = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Data directory; on the machine itself the command talks to the control that owns it, over its unix socket.
    /// Default: /var/lib/gatehouse as root, otherwise $XDG_STATE_HOME/gatehouse or ~/.local/state/gatehouse.
    #[arg(long, global = true, value_name = "DIR", env = "GATEHOUSE_DATA")]
    pub data: Option<PathBuf>,
    /// Talks to a control elsewhere, http:// or https://; the token comes from GATEHOUSE_TOKEN.
    #[arg(long, global = true, value_name = "URL", env = "GATEHOUSE_URL")]
    pub url: Option<String>,
    /// Certificate authority for an https:// URL, as a PEM file (`gatehouse ca show` prints it).
    #[arg(long, global = true, value_name = "FILE", env = "GATEHOUSE_CA")]
    pub ca: Option<PathBuf>,
    /// Form of the output.
    #[arg(short, long, global = true, value_name = "FORM")]
    pub output: Option<Form>,
    /// Prints nothing but what was asked for.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// No colours; the variable NO_COLOR says the same.
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Aligned columns, for people.
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts control and a gateway on this machine and keeps them running.
    Up(Box<UpArgs>),
    /// The control process.
    #[command(subcommand)]
    Control(ControlCommand),
    /// The gateway process, and the gateways that joined.
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// Checks the settings and prints every mistake with file and line; starts nothing.
    Check(RunArgs),
    /// Shows what runs: control, gateways and the generations they serve.
    Status,
    /// Shows which route answers a URL, and why the others do not.
    Explain(ExplainArgs),
    /// Exits with 0 when control is ready, otherwise with 1.
    Healthcheck,
    /// Prints the version.
    Version,
    /// Prints a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Routes: which host and path lead where.
    #[command(subcommand)]
    Route(RouteCommand),
    /// Certificates: brought, ordered, or signed elsewhere.
    #[command(subcommand)]
    Cert(CertCommand),
    /// The same as `cert renew`, as the reference writes it: `gatehouse --renew-ssl`.
    #[command(long_flag = "renew-ssl", hide = true)]
    RenewSsl(cert::RenewArgs),
    /// Virtual machines.
    #[command(subcommand)]
    Vm(VmCommand),
    /// Port forwards: ports of the gate that lead to machines.
    #[command(subcommand)]
    Forward(ForwardCommand),
    /// Looks for what is wrong with something.
    #[command(subcommand)]
    Diagnose(DiagnoseCommand),
    /// People and service accounts.
    #[command(subcommand)]
    User(UserCommand),
    /// API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// The internal certificate authority.
    #[command(subcommand)]
    Ca(CaCommand),
    /// Authorities that issue certificates by themselves (ACME).
    #[command(subcommand)]
    Acme(AcmeCommand),
    /// The database.
    #[command(subcommand)]
    Db(DbCommand),
    /// Redeems the one-time setup token: makes the first administrator.
    Setup(SetupArgs),
    /// Shows who the caller is and what it may do.
    Whoami,
}

/// Where settings come from; flags win over the environment, the environment over the file.
#[derive(Debug, Clone, Default, Args)]
pub struct SourceArgs {
    /// Settings file; default: DIR/gatehouse.toml, ./config/gatehouse.toml, /etc/gatehouse/gatehouse.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File of NAME=value lines; the bare names of the reference (HOST_SERVER_PORT, …) are accepted in it.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Refuses placeholder secrets and debug conveniences.
    #[arg(long)]
    pub production: bool,
}

/// Flags of the control process.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Where settings come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Admin API; address:port (plain HTTP) or tls:address:port, repeatable, or `off`.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Vec<String>,
    /// The gateways' stream; address:port, repeatable, or `off`.
    #[arg(long, value_name = "ADDRESS")]
    pub sync: Vec<String>,
    /// Database: a path (SQLite) or a postgres:// URL.
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// Least level that is logged: error, warning, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Log file; `-` is standard output. The gateway writes beside it.
    #[arg(long, value_name = "PATH")]
    pub log_file: Option<String>,
    /// Form of a log line: text or json.
    #[arg(long, value_name = "FORM")]
    pub log_format: Option<String>,
}

/// Flags of `up`.
#[derive(Debug, Clone, Default, Args)]
pub struct UpArgs {
    /// Flags of control.
    #[command(flatten)]
    pub run: RunArgs,
    /// Plain HTTP; address:port, repeatable, port 0 is any free one, or `off`.
    #[arg(long, value_name = "ADDRESS")]
    pub http: Vec<String>,
    /// HTTPS.
    #[arg(long, value_name = "ADDRESS")]
    pub https: Vec<String>,
    /// SSH jumps.
    #[arg(long, value_name = "ADDRESS")]
    pub ssh: Vec<String>,
    /// noVNC consoles.
    #[arg(long, value_name = "ADDRESS")]
    pub novnc: Vec<String>,
    /// Web terminals.
    #[arg(long, value_name = "ADDRESS")]
    pub ttyd: Vec<String>,
    /// The gateway's own health and metrics endpoint.
    #[arg(long, value_name = "ADDRESS")]
    pub gateway_admin: Vec<String>,
}

/// The control process.
#[derive(Debug, Subcommand)]
pub enum ControlCommand {
    /// Runs control in the foreground.
    Run(RunArgs),
}

/// The gateway process, and the gateways that joined.
#[derive(Debug, Subcommand)]
pub enum GatewayCommand {
    /// Runs a gateway in the foreground; everything after `run` goes to gatehouse-gateway.
    Run {
        /// Arguments of gatehouse-gateway.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Lists the gateways.
    #[command(visible_alias = "ls")]
    List,
    /// Shows one gateway.
    Show {
        /// Name or id.
        gateway: String,
    },
    /// Withdraws a gateway's identity.
    #[command(visible_alias = "delete")]
    Rm {
        /// Name or id.
        gateway: String,
    },
    /// Join tokens.
    #[command(subcommand)]
    Token(JoinCommand),
}

/// Join tokens.
#[derive(Debug, Subcommand)]
pub enum JoinCommand {
    /// Prints a one-time token for a new gateway.
    Create {
        /// The name the gateway will have; without it the gateway chooses.
        #[arg(long)]
        name: Option<String>,
    },
}

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

impl Switch {
    /// Whether it is on.
    pub const fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

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

/// Virtual machines.
#[derive(Debug, Subcommand)]
pub enum VmCommand {
    /// Makes a virtual machine known.
    #[command(visible_alias = "create")]
    Add {
        /// Its name, unique in the namespace.
        name: String,
        /// Its address.
        address: String,
        /// Tenant that owns it.
        #[arg(long)]
        namespace: Option<String>,
        /// Network of the address.
        #[arg(long)]
        network: Option<String>,
        /// Where its sshd listens.
        #[arg(long, value_name = "PORT")]
        ssh_port: Option<u16>,
        /// A remark.
        #[arg(long)]
        note: Option<String>,
    },
    /// Lists virtual machines.
    #[command(visible_alias = "ls")]
    List {
        /// Only this tenant's.
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Shows one virtual machine.
    Show(VmRef),
    /// Changes one virtual machine.
    Update {
        /// Which.
        #[command(flatten)]
        vm: VmRef,
        /// New name.
        #[arg(long)]
        name: Option<String>,
        /// New address.
        #[arg(long)]
        address: Option<String>,
        /// New network.
        #[arg(long)]
        network: Option<String>,
        /// New port of its sshd.
        #[arg(long, value_name = "PORT")]
        ssh_port: Option<u16>,
        /// New remark.
        #[arg(long)]
        note: Option<String>,
    },
    /// Deletes one virtual machine and ends what leads to it.
    #[command(visible_alias = "delete")]
    Rm(VmRef),
}

/// Names one virtual machine.
#[derive(Debug, Clone, Args)]
pub struct VmRef {
    /// Name or id.
    pub vm: String,
    /// Tenant that owns it, where several have one of that name.
    #[arg(long)]
    pub namespace: Option<String>,
}

/// People and service accounts.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Makes a user.
    #[command(visible_alias = "add")]
    Create {
        /// The name.
        name: String,
        /// Grants such as "admin:ns1 guest:ns2".
        #[arg(long)]
        grant: Option<String>,
        /// Whether it may do anything; default on.
        #[arg(long)]
        enabled: Option<Switch>,
    },
    /// Lists users.
    #[command(visible_alias = "ls")]
    List,
    /// Shows one user.
    Show {
        /// Name or id.
        user: String,
    },
    /// Changes one user.
    Update {
        /// Name or id.
        user: String,
        /// New grants, all of them.
        #[arg(long)]
        grant: Option<String>,
        /// Whether it may do anything.
        #[arg(long)]
        enabled: Option<Switch>,
    },
    /// Deletes one user and ends what it has open.
    #[command(visible_alias = "rm")]
    Delete {
        /// Name or id.
        user: String,
    },
    /// SSH public keys of a user.
    #[command(subcommand)]
    Key(KeyCommand),
}

/// SSH public keys of a user.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Adds the public keys of a file in the form of authorized_keys; `-` is standard input.
    Add {
        /// Name or id of the user.
        user: String,
        /// File, or `-`.
        file: PathBuf,
    },
    /// Lists keys.
    #[command(visible_alias = "list")]
    Ls {
        /// Name or id of the user.
        user: String,
    },
    /// Takes a key away.
    #[command(visible_alias = "delete")]
    Rm {
        /// Name or id of the user.
        user: String,
        /// Fingerprint (SHA256:…) or id of the key.
        key: String,
    },
}

/// API tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Prints a new token, and nothing else.
    Create {
        /// The user it acts for.
        #[arg(long, value_name = "NAME")]
        subject: String,
        /// How long it is good for, for example 10m.
        #[arg(long)]
        duration: Option<String>,
        /// Fewer grants than the subject has.
        #[arg(long)]
        grant: Option<String>,
    },
    /// Lists tokens.
    #[command(visible_alias = "ls")]
    List,
    /// Ends a token's life.
    #[command(visible_aliases = ["rm", "delete"])]
    Revoke {
        /// Its id.
        id: String,
    },
}

/// The database.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Brings the schema up to date while control is stopped; control does the same at its start. A copy is made first.
    Migrate(RunArgs),
}

/// What the first administrator is to be.
#[derive(Debug, Clone, Args)]
pub struct SetupArgs {
    /// The one-time setup token; without it standard input is read.
    #[arg(long)]
    pub token: Option<String>,
    /// Name of the administrator.
    #[arg(long, default_value = "admin")]
    pub name: String,
}
