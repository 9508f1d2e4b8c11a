//! Flags about the options of routes. What has no flag is said by `--options`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::Switch;

/// What a request has to be, besides host and path.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Conditions")]
pub struct MatchFlags {
    /// Only this method; repeatable.
    #[arg(long, value_name = "METHOD")]
    pub match_method: Vec<String>,
    /// Only with such a field: NAME=VALUE, NAME^=PREFIX, NAME (is there) or !NAME (is not); repeatable, all have to hold.
    #[arg(long, value_name = "TEST")]
    pub match_header: Vec<String>,
    /// Only with such a parameter of the query, written alike.
    #[arg(long, value_name = "TEST")]
    pub match_query: Vec<String>,
    /// Only clients of this network or address; repeatable.
    #[arg(long, value_name = "NETWORK")]
    pub match_client: Vec<String>,
    /// Goes before routes of a lower one, from -1000 to 1000; default 0.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i16>,
    /// Only the path itself, nothing below it.
    #[arg(long, value_name = "ON", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub path_exact: Option<Switch>,
}

/// What is done to requests and answers.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterFlags {
    /// Takes this prefix from the path on the way to the target.
    #[arg(long, value_name = "PREFIX")]
    pub strip: Option<String>,
    /// Puts this prefix before what is left of the path.
    #[arg(long, value_name = "PREFIX")]
    pub add_prefix: Option<String>,
    /// Sets a field of the request; repeatable.
    #[arg(long, value_name = "'NAME: VALUE'")]
    pub set_header: Vec<String>,
    /// Adds a field to the request; repeatable.
    #[arg(long, value_name = "'NAME: VALUE'")]
    pub add_header: Vec<String>,
    /// Takes a field from the request; repeatable.
    #[arg(long, value_name = "NAME")]
    pub remove_header: Vec<String>,
    /// Sets a field of every answer, our own included; repeatable.
    #[arg(long, value_name = "'NAME: VALUE'")]
    pub response_header: Vec<String>,
    /// Takes a field from every answer; repeatable.
    #[arg(long, value_name = "NAME")]
    pub remove_response_header: Vec<String>,
    /// Clients of this network or address alone may ask; repeatable.
    #[arg(long, value_name = "NETWORK")]
    pub allow: Vec<String>,
    /// Clients of this network or address may not ask; repeatable.
    #[arg(long, value_name = "NETWORK")]
    pub deny: Vec<String>,
    /// Asks for a name and password; the password is read from the terminal or a line of standard input. Repeatable; a
    /// user that is there already gets a new password.
    #[arg(long, value_name = "USER")]
    pub basic_auth: Vec<String>,
    /// The same from a file of NAME:PASSWORD lines, which are all the users then.
    #[arg(long, value_name = "FILE", conflicts_with = "basic_auth")]
    pub basic_auth_file: Option<PathBuf>,
    /// Requests of one client in a time, for example 10/s, 100/5m.
    #[arg(long, value_name = "N/TIME")]
    pub rate: Option<String>,
    /// Of these, how many may come at once.
    #[arg(long, value_name = "N", requires = "rate")]
    pub burst: Option<u32>,
    /// Largest request body, for example 10MiB.
    #[arg(long, value_name = "SIZE")]
    pub max_body: Option<String>,
    /// Requests under way at once in one gateway.
    #[arg(long, value_name = "N")]
    pub max_in_flight: Option<u32>,
    /// Compresses answers that gain by it.
    #[arg(long, value_name = "ON", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub gzip: Option<Switch>,
    /// A protocol other than WebSocket that a request may be upgraded to, for example tcp. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub upgrade: Vec<String>,
    /// Answers everything with 503 and a page that says so.
    #[arg(long, value_name = "ON", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub maintenance: Option<Switch>,
}

/// How targets share requests, are spoken to and looked after.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Targets")]
pub struct UpstreamFlags {
    /// round-robin, least, p2c, hash:address, hash:header:NAME or hash:cookie:NAME.
    #[arg(long, value_name = "HOW")]
    pub balance: Option<String>,
    /// Keeps a client at its target: cookie[:NAME], or learned:HEADER:PATH:FIELD[:TIME].
    #[arg(long, value_name = "HOW")]
    pub sticky: Option<String>,
    /// Asks targets whether they are well: a path such as /version, or tcp.
    #[arg(long, value_name = "PATH|tcp")]
    pub check: Option<String>,
    /// Pause between two questions; default 5s.
    #[arg(long, value_name = "TIME")]
    pub check_interval: Option<String>,
    /// Time for the answer; default 2s.
    #[arg(long, value_name = "TIME")]
    pub check_timeout: Option<String>,
    /// Takes a target out for a time after so many failures in a row, for example 5/30s.
    #[arg(long, value_name = "N/TIME")]
    pub eject: Option<String>,
    /// Gives a target that came back its share by and by.
    #[arg(long, value_name = "TIME")]
    pub slow_start: Option<String>,
    /// Tries of one request in all; default 3.
    #[arg(long, value_name = "N")]
    pub tries: Option<u8>,
    /// Trusts targets with https:// that an authority in this PEM file vouches for.
    #[arg(long, value_name = "FILE")]
    pub upstream_ca: Option<PathBuf>,
    /// Trusts the certificate with this SHA-256 alone.
    #[arg(long, value_name = "HEX", conflicts_with = "upstream_ca")]
    pub upstream_fingerprint: Option<String>,
    /// Trusts whatever answers; root alone may say it.
    #[arg(long, conflicts_with_all = ["upstream_ca", "upstream_fingerprint"])]
    pub upstream_insecure: bool,
    /// Name asked for and checked instead of the target's own.
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Shows targets this certificate, a PEM file with its chain.
    #[arg(long, value_name = "FILE", requires = "upstream_key")]
    pub upstream_cert: Option<PathBuf>,
    /// The key of it in PKCS#8, a PEM file.
    #[arg(long, value_name = "FILE", requires = "upstream_cert")]
    pub upstream_key: Option<PathBuf>,
    /// Tells targets the client's address first: v1 or v2.
    #[arg(long, value_name = "VERSION")]
    pub proxy_protocol: Option<String>,
    /// connect, request_body, response_head, idle_body, whole or tunnel, for example whole=30s; repeatable.
    #[arg(long, value_name = "NAME=TIME", action = ArgAction::Append)]
    pub timeout: Vec<String>,
}

/// What a route answers by itself, instead of leading to targets.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Answers")]
pub struct AnswerFlags {
    /// Sends the client to this URL, or path on the same host.
    #[arg(long, value_name = "URL", conflicts_with = "respond")]
    pub redirect: Option<String>,
    /// 301 (default), 302, 303, 307 or 308.
    #[arg(long, value_name = "STATUS", requires = "redirect")]
    pub status: Option<u16>,
    /// Puts what follows the route's path, and the query, behind the URL.
    #[arg(long, value_name = "ON", requires = "redirect", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub keep_rest: Option<Switch>,
    /// Answers with this status.
    #[arg(long, value_name = "STATUS")]
    pub respond: Option<u16>,
    /// The body of that answer.
    #[arg(long, value_name = "TEXT", requires = "respond")]
    pub body: Option<String>,
    /// The body of that answer, from a file.
    #[arg(long, value_name = "FILE", requires = "respond", conflicts_with = "body")]
    pub body_file: Option<PathBuf>,
    /// Its type; default text/plain; charset=utf-8.
    #[arg(long, value_name = "TYPE", requires = "respond")]
    pub content_type: Option<String>,
}

/// All of them.
#[derive(Debug, Clone, Default, Args)]
pub struct OptionFlags {
    /// What a request has to be.
    #[command(flatten)]
    pub matching: MatchFlags,
    /// What is done to it.
    #[command(flatten)]
    pub filters: FilterFlags,
    /// Where it goes.
    #[command(flatten)]
    pub upstream: UpstreamFlags,
    /// What it is answered.
    #[command(flatten)]
    pub answers: AnswerFlags,
    /// JSON of any options in the form of the API, merged over the flags; `-` is standard input. null takes an option
    /// back.
    #[arg(long, value_name = "FILE", help_heading = "Everything else")]
    pub options: Option<PathBuf>,
}

/// What `explain` is asked.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// For example https://app.example.com/path.
    #[arg(value_name = "URL")]
    pub address: String,
    /// Request method.
    #[arg(long, default_value = "GET")]
    pub method: String,
    /// A header field of the request; repeatable.
    #[arg(long, value_name = "'NAME: VALUE'")]
    pub header: Vec<String>,
    /// Address of the client.
    #[arg(long, value_name = "IP")]
    pub client: Option<IpAddr>,
}
