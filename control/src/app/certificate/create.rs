//! A new certificate: brought, to be signed elsewhere, or to be ordered.

use certs::request::Wanted;
use config::name::{HostPattern, Namespace};

use super::super::acme::order;
use super::super::change::{Change, Note, Scope};
use super::super::input::{Input, Members, Said};
use super::super::route::namespace;
use super::super::{App, Caller, Error};
use super::input::{self, Brought};
use super::install::{self, Issued};
use super::view::{self, CertificateView};
use crate::auth::rbac::{Action, Resource};
use crate::publish::build;
use crate::store;
use crate::store::identity::{IdentityRow, Source, Status};

/// What is to be made.
enum Kind {
    Upload(Brought),
    Request(certs::request::Subject),
    Order,
}

/// Makes a certificate.
pub async fn create(app: &App, caller: &Caller, members: Members) -> Result<CertificateView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    input.read_only(input::SHOWN);
    let namespace = namespace(&mut input, caller);
    if let Some(namespace) = &namespace {
        caller.allow(Action::Create, Resource::Certificate(namespace))?;
    }
    let name = input.note("name").some().filter(|name| !name.is_empty());
    let note = input.note("note").or(String::new());
    let kind = kind(&mut input);
    let Some(namespace) = namespace else { return Err(input.refuse(input::KNOWN)) };
    let (mut row, warnings) = match kind {
        None => return Err(input.refuse(input::KNOWN)),
        Some(Kind::Upload(brought)) => {
            return upload(app, caller, (input, brought), (namespace, name, note)).await;
        }
        Some(Kind::Request(subject)) => (request(app, (&mut input, subject), namespace).await?, Vec::new()),
        Some(Kind::Order) => (ordered(app, &mut input, namespace)?, Vec::new()),
    };
    if let Some(name) = name {
        row.name = name;
    }
    (row.note, row.owner) = (note, Some(caller.actor.name().to_owned()));
    let change = app.begin(caller, Scope::Private).await?;
    finish(change, &row, warnings).await
}

/// What the members say is to be made.
fn kind(input: &mut Input) -> Option<Kind> {
    let source = input.text("source");
    let (brought, subject) = (input::brought(input), input::subject(input));
    let said = match source {
        Said::This(source) => source,
        Said::Null | Said::Nothing if !brought.is_empty() => "upload".to_owned(),
        Said::Null | Said::Nothing if subject.is_some() => "csr".to_owned(),
        Said::Null | Said::Nothing => {
            let how = "write upload with a certificate and its key, csr with names, or acme with names";
            if input.is_sound_at("source") {
                input.invalid("source", "required", format!("source is missing; {how}"));
            }
            return None;
        }
    };
    match said.as_str() {
        "upload" => {
            if brought.is_empty() && input.is_sound() {
                let message = "certificate is missing: bring the chain and its key, or pkcs12";
                input.invalid("certificate", "required", message);
            }
            only(input, "upload", &[("csr", subject.is_some())]);
            Some(Kind::Upload(brought))
        }
        "csr" => {
            only(input, "csr", &[("certificate", !brought.is_empty())]);
            Some(Kind::Request(subject.unwrap_or_default()))
        }
        "acme" => {
            only(input, "acme", &[("certificate", !brought.is_empty()), ("csr", subject.is_some())]);
            Some(Kind::Order)
        }
        other => {
            let message = format!("{other:?} is no source; write upload, csr or acme");
            input.invalid("source", "invalid", message);
            None
        }
    }
}

fn only(input: &mut Input, source: &str, said: &[(&'static str, bool)]) {
    for (field, is_said) in said {
        if *is_said {
            input.invalid(*field, "invalid", format!("{field} does not go with source {source}"));
        }
    }
}

async fn upload(
    app: &App,
    caller: &Caller,
    (input, brought): (Input, Brought),
    (namespace, name, note): (Namespace, Option<String>, String),
) -> Result<CertificateView, Error> {
    input.finish(input::KNOWN)?;
    let now = app.clock.now();
    let uploaded = brought.uploaded(now).await?;
    let warnings = uploaded.warnings.iter().map(ToString::to_string).collect();
    let change = app.begin(caller, Scope::Private).await?;
    let mut row = IdentityRow::new(Source::Upload, namespace, Vec::new(), now);
    row.name = name.unwrap_or_else(|| shown_name(&uploaded.leaf.subject_names.hosts, &uploaded.leaf.subject));
    (row.note, row.owner) = (note, Some(caller.actor.name().to_owned()));
    let issued = Issued { chain: uploaded.chain, key: uploaded.key };
    install::fill(change.keys().as_ref(), &mut row, issued)?;
    finish(change, &row, warnings).await
}

/// What a certificate is called that nobody named.
fn shown_name(hosts: &[HostPattern], subject: &str) -> String {
    hosts.first().map_or_else(|| subject.chars().take(255).collect(), HostPattern::to_string)
}

async fn request(
    app: &App,
    (input, subject): (&mut Input, certs::request::Subject),
    namespace: Namespace,
) -> Result<IdentityRow, Error> {
    let mut names = input::names(input);
    let (kind, word) = input::key_type(input);
    if names.is_empty()
        && let Some(common) = &subject.common_name
        && let Ok(host) = HostPattern::parse(common)
    {
        names.push(certs::self_signed::SubjectName::Host(host));
    }
    if names.is_empty() && input.is_sound() {
        input.invalid("names", "required", "names is missing: what the certificate is for");
    }
    taken_out(input).finish(input::KNOWN)?;
    let hosts = input::hosts(&names);
    let made = input::request(Wanted { subject, names }, kind).await?;
    let mut row = IdentityRow::new(Source::Upload, namespace, hosts, app.clock.now());
    let sealed = app.keys.seal(build::IDENTITY_PURPOSE, made.key.expose());
    row.status = Status::Waiting;
    row.csr_key_sealed = Some(sealed.map_err(|error| Error::Internal(error.to_string()))?);
    row.csr = Some(made.csr_der);
    row.key_kind = Some(word.unwrap_or_else(|| "ecdsa-p256".to_owned()));
    Ok(row)
}

fn ordered(app: &App, input: &mut Input, namespace: Namespace) -> Result<IdentityRow, Error> {
    let names = input::names(input);
    let hosts = input::hosts(&names);
    if hosts.len() < names.len() {
        let message = "an address cannot be ordered; names are host names and wildcards";
        input.invalid("names", "unsupported", message);
    } else if names.is_empty() && input.is_sound() {
        input.invalid("names", "required", "names is missing: what the certificate is for");
    }
    let challenge = input::challenge(input, &hosts).some();
    let (_, key_kind) = input::key_type(input);
    let account = input.text("account").some();
    taken_out(input).finish(input::KNOWN)?;
    let now = app.clock.now();
    let mut row = IdentityRow::new(Source::Acme, namespace, hosts, now);
    (row.challenge, row.key_kind, row.account) = (challenge, key_kind, account);
    row.next_try = Some(now);
    Ok(row)
}

/// The input itself; what is left in it was asked by nobody.
fn taken_out(input: &mut Input) -> Input {
    std::mem::replace(input, Input::new(Members::default()))
}

async fn finish(
    mut change: Change<'_>,
    row: &IdentityRow,
    warnings: Vec<String>,
) -> Result<CertificateView, Error> {
    store::identity::insert(change.conn(), row).await?;
    if row.source == Source::Acme {
        order::request(&mut change, row, order::Reason::Request).await?;
    }
    let mut view = view::of(row, change.now());
    view.warnings = warnings;
    change.audit(note("create", row), None, Some(&view)).await?;
    change.commit().await?;
    Ok(view)
}

/// The note of an audit row.
pub(super) fn note<'a>(action: &'static str, row: &'a IdentityRow) -> Note<'a> {
    Note {
        action,
        kind: "certificate",
        id: Some(row.id.to_string()),
        namespace: Some(row.namespace.as_str()),
    }
}
