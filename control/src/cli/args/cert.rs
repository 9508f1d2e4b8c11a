//! The words of `gatehouse cert` and `gatehouse ca`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Certificates.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Brings a certificate with its chain and key, as PEM, DER or PKCS#12; or orders one with --acme.
    #[command(visible_alias = "create")]
    Add(Box<AddArgs>),
    /// Puts a new chain and key in the place of those of a certificate that was brought.
    Import {
        /// Which: name or id.
        certificate: String,
        /// What is brought.
        #[command(flatten)]
        files: FileArgs,
    },
    /// Makes a key and the request to have it signed elsewhere; prints the request as PEM.
    Csr(Box<CsrArgs>),
    /// Loads the chain that was signed for a request.
    Load {
        /// The certificate that waits: name or id.
        certificate: String,
        /// The certificate, or its chain, leaf first.
        #[arg(long = "cert", value_name = "FILE", required = true)]
        file: PathBuf,
        /// The rest of its chain.
        #[arg(long, value_name = "FILE")]
        chain: Option<PathBuf>,
    },
    /// Lists certificates and the days they have left.
    #[command(visible_alias = "list")]
    Ls {
        /// Only this tenant's.
        #[arg(long)]
        namespace: Option<String>,
        /// Only of this source: self-signed, upload or acme.
        #[arg(long)]
        source: Option<String>,
        /// Only in this state: pending, waiting, active, failed or revoked.
        #[arg(long)]
        status: Option<String>,
        /// Only those that end within so many days.
        #[arg(long)]
        days: Option<u32>,
    },
    /// Shows one certificate; its key is never shown.
    Show {
        /// Name or id.
        certificate: String,
        /// Prints one part as PEM: certificate_chain, certificate or certificate_signing_request.
        #[arg(long, value_name = "PART")]
        part: Option<String>,
    },
    /// Renews what ends within thirty days.
    Renew(RenewArgs),
    /// Tells the ACME authority that a certificate must not be trusted any more.
    Revoke {
        /// Name or id.
        certificate: String,
        /// Why: unspecified (default), key-compromise, affiliation-changed, superseded or cessation-of-operation.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Deletes one certificate.
    #[command(visible_alias = "delete")]
    Rm {
        /// Name or id.
        certificate: String,
        /// Also one that routes use: their hosts get one of the internal authority.
        #[arg(long)]
        force: bool,
    },
}

/// What is brought.
#[derive(Debug, Clone, Default, Args)]
pub struct FileArgs {
    /// Files with the certificate, its chain and its key, in any form; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// The certificate, or its chain, leaf first.
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The rest of the chain.
    #[arg(long, value_name = "FILE")]
    pub chain: Option<PathBuf>,
    /// The key of the certificate.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// A file that holds the password of a PKCS#12 archive; GATEHOUSE_CERT_PASSWORD says it as well.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// A certificate to bring or to order.
#[derive(Debug, Clone, Args)]
pub struct AddArgs {
    /// What is brought.
    #[command(flatten)]
    pub files: FileArgs,
    /// Orders a certificate for this name instead; repeatable.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["file", "cert", "chain", "key"])]
    pub acme: Vec<String>,
    /// The ACME account to order with.
    #[arg(long, requires = "acme")]
    pub account: Option<String>,
    /// http-01, tls-alpn-01 or dns-01, which a wildcard needs.
    #[arg(long, requires = "acme")]
    pub challenge: Option<String>,
    /// Kind of the key: ecdsa-p256 (default), ecdsa-p384, rsa-2048, rsa-3072 or rsa-4096.
    #[arg(long, requires = "acme")]
    pub key_type: Option<String>,
    /// Waits until the certificate is in force, and says each step on standard error.
    #[arg(long, requires = "acme")]
    pub wait: bool,
    /// What the certificate is called; its first name otherwise.
    #[arg(long)]
    pub name: Option<String>,
    /// Tenant that owns it.
    #[arg(long)]
    pub namespace: Option<String>,
    /// A remark.
    #[arg(long)]
    pub note: Option<String>,
}

/// A certificate to have signed elsewhere.
#[derive(Debug, Clone, Args)]
pub struct CsrArgs {
    /// Common name; also a name of the certificate where no --san is given.
    #[arg(long, value_name = "NAME")]
    pub cn: Option<String>,
    /// A host name, wildcard or address it is for; repeatable.
    #[arg(long, value_name = "NAME", required_unless_present = "cn")]
    pub san: Vec<String>,
    /// Organization.
    #[arg(long)]
    pub org: Option<String>,
    /// Part of the organization.
    #[arg(long)]
    pub unit: Option<String>,
    /// City.
    #[arg(long)]
    pub locality: Option<String>,
    /// State or province.
    #[arg(long)]
    pub state: Option<String>,
    /// Country, two capital letters.
    #[arg(long)]
    pub country: Option<String>,
    /// Kind of the key: ecdsa-p256 (default), ecdsa-p384, rsa-2048, rsa-3072 or rsa-4096.
    #[arg(long)]
    pub key_type: Option<String>,
    /// What the certificate is called; its first name otherwise.
    #[arg(long)]
    pub name: Option<String>,
    /// Tenant that owns it.
    #[arg(long)]
    pub namespace: Option<String>,
}

/// What to renew.
#[derive(Debug, Clone, Default, Args)]
pub struct RenewArgs {
    /// Names or ids; all that renew themselves when none is given.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Also those that are good for a while.
    #[arg(long)]
    pub force: bool,
    /// Waits for each that is ordered until it is in force, and says each step on standard error.
    #[arg(long)]
    pub wait: bool,
}

/// The internal certificate authority.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Prints the certificate that users trust as PEM.
    Show,
    /// Imports an authority that signs the certificates of self-signed routes from now on; those there are are issued
    /// anew. Gateways go on trusting the internal authority for their stream.
    Import {
        /// Its certificate.
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// Its private key, not encrypted.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The certificates above it, when it is an intermediate.
        #[arg(long, value_name = "FILE")]
        chain: Option<PathBuf>,
    },
    /// Makes this machine trust it: puts it into the system's store where that is permitted, otherwise says how.
    Trust {
        /// Only says how.
        #[arg(long)]
        dry_run: bool,
    },
}
