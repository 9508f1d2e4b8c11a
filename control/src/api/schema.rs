//! The bodies that the OpenAPI document describes. They are read member by member (`app::input`), which finds every
//! violation at once; a test holds these against the members that are read.

use utoipa::ToSchema;

pub mod options;

use self::options::{
    FilterOptions, MatchOptions, RedirectOptions, RespondOptions, TargetOptions, TimeoutOptions,
    TlsPolicyOptions, UpstreamOptions,
};

macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $field:ident: $type:ty),* $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, ToSchema)]
        #[expect(dead_code, reason = "described, never built")]
        pub struct $name { $($(#[$about])* $field: $type),* }

        #[cfg(test)]
        impl $name {
            pub(super) const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    )+};
}
use bodies;

bodies! {
    /// A route to make.
    RouteInput {
        /// Exact name, `*.` wildcard, or `*`.
        host: String,
        /// Path prefix on segment boundaries; `/` when absent.
        path: Option<String>,
        /// `http://HOST:PORT`, `vm:NAME:PORT`, `control`, `novnc` or `ttyd`.
        target: Option<String>,
        /// Several targets, instead of `target`; each may be a text as well.
        targets: Option<Vec<TargetOptions>>,
        /// `off` (default), `self-signed`, `upload`, `acme` or `passthrough`.
        tls: Option<String>,
        /// With `upload` or `acme`: id or name of the certificate; the one that covers the host when absent.
        certificate: Option<String>,
        /// What the route asks of handshakes.
        tls_policy: Option<TlsPolicyOptions>,
        /// Send plain HTTP to https; true when `tls` is on.
        redirect_https: Option<bool>,
        /// `Strict-Transport-Security`, in seconds.
        hsts_seconds: Option<u32>,
        /// Let upgrades pass; false when absent.
        websocket: Option<bool>,
        /// `keep` (default), `cut` or `drain 30s`.
        on_change: Option<String>,
        /// `keep`, `cut` or `drain 30s` (default).
        on_delete: Option<String>,
        /// Publish it; true when absent.
        enabled: Option<bool>,
        /// At most 255 characters.
        note: Option<String>,
        /// The tenant; the only one that the caller administers, else `default`.
        namespace: Option<String>,
        /// The user it belongs to; the caller when absent.
        owner: Option<String>,
        /// `http`.
        protocol: Option<String>,
        /// What a request has to be, besides host and path.
        #[schema(rename = "match")]
        matchers: Option<MatchOptions>,
        /// How long the route waits.
        timeouts: Option<TimeoutOptions>,
        /// What the route does to requests and answers.
        filters: Option<FilterOptions>,
        /// How the endpoints share requests, are spoken to and looked after.
        upstream: Option<UpstreamOptions>,
        /// Where the client is sent, instead of targets.
        redirect: Option<RedirectOptions>,
        /// What the client gets, instead of targets.
        respond: Option<RespondOptions>,
    }
    /// What to change of a route; null takes the default back.
    RoutePatch {
        /// Exact name, `*.` wildcard, or `*`.
        host: Option<String>,
        /// Path prefix.
        path: Option<String>,
        /// One target.
        target: Option<String>,
        /// Several targets; each may be a text as well. What is not said of one that stays is kept.
        targets: Option<Vec<TargetOptions>>,
        /// `off`, `self-signed`, `upload`, `acme` or `passthrough`.
        tls: Option<String>,
        /// With `upload` or `acme`: id or name of the certificate; the host's other routes follow.
        certificate: Option<String>,
        /// Merged into what is there.
        tls_policy: Option<TlsPolicyOptions>,
        /// Send plain HTTP to https.
        redirect_https: Option<bool>,
        /// In seconds; null sends none.
        hsts_seconds: Option<u32>,
        /// Let upgrades pass.
        websocket: Option<bool>,
        /// `keep`, `cut` or `drain 30s`.
        on_change: Option<String>,
        /// `keep`, `cut` or `drain 30s`.
        on_delete: Option<String>,
        /// Publish it.
        enabled: Option<bool>,
        /// At most 255 characters.
        note: Option<String>,
        /// The user it belongs to.
        owner: Option<String>,
        /// Merged into what is there.
        #[schema(rename = "match")]
        matchers: Option<MatchOptions>,
        /// Merged into what is there.
        timeouts: Option<TimeoutOptions>,
        /// Merged into what is there; a user without a password keeps the one it has.
        filters: Option<FilterOptions>,
        /// Merged into what is there.
        upstream: Option<UpstreamOptions>,
        /// Merged into what is there, or instead of targets.
        redirect: Option<RedirectOptions>,
        /// Merged into what is there, or instead of targets.
        respond: Option<RespondOptions>,
    }
    /// What to change of one endpoint of a route.
    EndpointPatch {
        /// Its share against the others', from 1 to 256.
        weight: Option<u16>,
        /// Give it no new requests but those that stick to it.
        draining: Option<bool>,
    }
    /// A certificate to make: brought, to be signed elsewhere, or to be ordered.
    CertificateInput {
        /// `upload`, `csr` or `acme`; told by the other members when absent, but for `acme`.
        source: Option<String>,
        /// What people call it; its first name when absent.
        name: Option<String>,
        /// The tenant; the only one that the caller administers, else `default`.
        namespace: Option<String>,
        /// At most 255 characters.
        note: Option<String>,
        /// With `csr` and `acme`: what it is for. Host names and wildcards; with `csr` addresses as well.
        names: Option<Vec<String>>,
        /// With `upload`: the leaf, or the chain leaf first, or all with the key; PEM, or the bytes of the file as base64.
        certificate: Option<String>,
        /// The rest of the chain.
        certificate_chain: Option<String>,
        /// The key of the leaf. It is sealed and never shown.
        private_key: Option<String>,
        /// A PKCS#12 archive as base64, instead of the others.
        pkcs12: Option<String>,
        /// The password of the archive.
        password: Option<String>,
        /// The subject of the request.
        csr: Option<CsrInput>,
        /// Of a key to make: `ecdsa-p256` (default), `ecdsa-p384`, `rsa-2048`, `rsa-3072` or `rsa-4096`.
        key_type: Option<String>,
        /// With `acme`: the account, by id or name; the default one when absent.
        account: Option<String>,
        /// With `acme`: `http-01`, `tls-alpn-01` or `dns-01`, which a wildcard needs.
        challenge: Option<String>,
    }
    /// The subject of a request. Authorities look at the names alone.
    CsrInput {
        /// CN.
        common_name: Option<String>,
        /// O.
        organization: Option<String>,
        /// OU.
        organizational_unit: Option<String>,
        /// L.
        locality: Option<String>,
        /// ST.
        state: Option<String>,
        /// C, two capital letters.
        country: Option<String>,
    }
    /// What to change of a certificate. A chain and key take the place of those there in one generation.
    CertificatePatch {
        /// What people call it.
        name: Option<String>,
        /// At most 255 characters.
        note: Option<String>,
        /// Of one that was brought: the new leaf or chain.
        certificate: Option<String>,
        /// The rest of the chain.
        certificate_chain: Option<String>,
        /// The key of the leaf.
        private_key: Option<String>,
        /// A PKCS#12 archive as base64, instead of the others.
        pkcs12: Option<String>,
        /// The password of the archive.
        password: Option<String>,
        /// Of one that is ordered: the kind of the next key.
        key_type: Option<String>,
        /// Of one that is ordered.
        account: Option<String>,
        /// Of one that is ordered.
        challenge: Option<String>,
    }
    /// The chain that was signed for a request.
    CertificateLoad {
        /// The leaf, or the chain leaf first; PEM, or the bytes of the file as base64.
        certificate: String,
        /// The rest of the chain.
        certificate_chain: Option<String>,
    }
    /// An authority to sign with.
    AuthorityInput {
        /// Its certificate; PEM, or the bytes of the file as base64.
        certificate: String,
        /// Those above it when it is an intermediate: leaves carry them, without the root.
        certificate_chain: Option<String>,
        /// Its key as PEM, not encrypted: RSA of 2048 to 8192 bits, ECDSA or Ed25519.
        private_key: String,
    }
    /// How to renew.
    CertificateRenewal {
        /// Also one that is good for a while; false when absent.
        force: Option<bool>,
    }
    /// A console of a machine to make; one of a kind for each.
    ConsoleInput {
        /// The VM: its name, `NAME.NAMESPACE` or id.
        vm: String,
        /// `vnc`, `ttyd`, `ssh` or `serial`.
        kind: String,
        /// Where it is; the VM's address when absent. Root may write any other one.
        address: Option<String>,
        /// The port there; 5900 for vnc, 7681 for ttyd, 22 for ssh.
        port: Option<u16>,
        /// `tcp`, or `websocket` for what speaks WebSocket itself; `websocket` for ttyd, `tcp` for the others.
        wire: Option<String>,
        /// What a WebSocket is asked for; `/ws` for ttyd, `/websockify` for vnc.
        path: Option<String>,
        /// The account on the VM that a terminal by SSH logs in as; root when absent.
        login: Option<String>,
        /// The VNC password, 1 to 8 bytes. Never shown again.
        secret: Option<String>,
        /// Nobody may do more than look; of vnc over tcp.
        read_only: Option<bool>,
        /// `keep` (default), `cut` or `drain 30s`.
        on_change: Option<String>,
        /// `keep`, `cut` or `drain 30s` (default).
        on_delete: Option<String>,
        /// At most 255 characters.
        note: Option<String>,
        /// The VM's, where it is said at all.
        namespace: Option<String>,
    }
    /// What to change of a console; null takes the default back.
    ConsolePatch {
        /// Where it is; the VM's address when absent. Root may write any other one.
        address: Option<String>,
        /// The port there; 5900 for vnc, 7681 for ttyd, 22 for ssh.
        port: Option<u16>,
        /// `tcp`, or `websocket` for what speaks WebSocket itself; `websocket` for ttyd, `tcp` for the others.
        wire: Option<String>,
        /// What a WebSocket is asked for; `/ws` for ttyd, `/websockify` for vnc.
        path: Option<String>,
        /// The account on the VM that a terminal by SSH logs in as; root when absent.
        login: Option<String>,
        /// The VNC password, 1 to 8 bytes. Never shown again.
        secret: Option<String>,
        /// Nobody may do more than look; of vnc over tcp.
        read_only: Option<bool>,
        /// `keep` (default), `cut` or `drain 30s`.
        on_change: Option<String>,
        /// `keep`, `cut` or `drain 30s` (default).
        on_delete: Option<String>,
        /// At most 255 characters.
        note: Option<String>,
    }
    /// What is to become of an SSH host key that a VM has shown.
    VmHostKeyInput {
        /// `SHA256:…`, as `ssh-keygen -l` prints it.
        fingerprint: String,
        /// `accepted`, `refused` or `forgotten`.
        state: String,
    }
    /// What a ticket is to allow.
    TicketInput {
        /// Only look; all that a guest may.
        read_only: Option<bool>,
        /// The address it may be used from, or `any`. When absent the one that asks, unless that is control's own machine
        /// or a proxy, which says nothing of the browser.
        source: Option<String>,
        /// Name or id of the gateway that redeems it; the first that is connected when absent.
        gateway: Option<String>,
        /// The host that the gateway is known by, for the address that is shown.
        host: Option<String>,
        /// How long it can be redeemed, 1 to 60.
        seconds: Option<u8>,
    }
    /// Why a certificate is revoked.
    CertificateRevocation {
        /// `unspecified` (the default), `key-compromise`, `affiliation-changed`, `superseded` or `cessation-of-operation`.
        reason: Option<String>,
    }
    /// A port forward to make.
    ForwardInput {
        /// `tcp` or `udp`.
        protocol: String,
        /// An address of the gateways; every address when absent. `0.0.0.0` is every IPv4 address, `::` every IPv6 one.
        bind: Option<String>,
        /// A port, or `auto`: the lowest from 20000 that is free.
        #[schema(value_type = Option<u16>)]
        host_port: Option<serde_json::Value>,
        /// A row of ports as `10000-10010`, instead of `host_port`.
        host_ports: Option<String>,
        /// The VM: its name, `NAME.NAMESPACE` or id.
        vm: Option<String>,
        /// The address of a VM; root may write any other one.
        vm_ip: Option<String>,
        /// The port there, the first of as many as the gate's.
        #[schema(value_type = Option<u16>)]
        vm_port: Option<serde_json::Value>,
        /// A row of as many ports as the gate's, instead of `vm_port`.
        vm_ports: Option<String>,
        /// Networks that may connect; everybody when there is none.
        sources: Option<Vec<String>>,
        /// `off` (default), `v1` or `v2`; of tcp.
        proxy_protocol: Option<String>,
        /// Connections, or UDP sessions, at once in one gateway.
        max_conns: Option<u32>,
        /// New ones a second in one gateway.
        rate: Option<u32>,
        /// Longest silence, as in `5m`.
        idle_timeout: Option<String>,
        /// `keep` (default), `cut` or `drain 30s`.
        on_change: Option<String>,
        /// `keep`, `cut` or `drain 30s` (default).
        on_delete: Option<String>,
        /// Publish it; true when absent.
        enabled: Option<bool>,
        /// At most 255 characters.
        note: Option<String>,
        /// The tenant; the only one where the caller is operator, else `default`.
        namespace: Option<String>,
    }
    /// What to change of a forward; null takes the default back.
    ForwardPatch {
        /// `tcp` or `udp`.
        protocol: Option<String>,
        /// An address of the gateways; every address when absent. `0.0.0.0` is every IPv4 address, `::` every IPv6 one.
        bind: Option<String>,
        /// A port, or `auto`: the lowest from 20000 that is free.
        #[schema(value_type = Option<u16>)]
        host_port: Option<serde_json::Value>,
        /// A row of ports as `10000-10010`, instead of `host_port`.
        host_ports: Option<String>,
        /// The VM: its name, `NAME.NAMESPACE` or id.
        vm: Option<String>,
        /// The address of a VM; root may write any other one.
        vm_ip: Option<String>,
        /// The port there, the first of as many as the gate's.
        #[schema(value_type = Option<u16>)]
        vm_port: Option<serde_json::Value>,
        /// A row of as many ports as the gate's, instead of `vm_port`.
        vm_ports: Option<String>,
        /// Networks that may connect; everybody when there is none.
        sources: Option<Vec<String>>,
        /// `off` (default), `v1` or `v2`; of tcp.
        proxy_protocol: Option<String>,
        /// Connections, or UDP sessions, at once in one gateway.
        max_conns: Option<u32>,
        /// New ones a second in one gateway.
        rate: Option<u32>,
        /// Longest silence, as in `5m`.
        idle_timeout: Option<String>,
        /// `keep` (default), `cut` or `drain 30s`.
        on_change: Option<String>,
        /// `keep`, `cut` or `drain 30s` (default).
        on_delete: Option<String>,
        /// Publish it; true when absent.
        enabled: Option<bool>,
        /// At most 255 characters.
        note: Option<String>,
    }
    /// A VM to make.
    VmInput {
        /// Letters, digits, `-`, `_`; unique in the namespace.
        name: String,
        /// The tenant; the only one that the caller administers, else `default`.
        namespace: Option<String>,
        /// The network; `default` when absent.
        network: Option<String>,
        /// An IP address, unique in the network.
        address: String,
        /// 22 when absent.
        ssh_port: Option<u16>,
        /// At most 255 characters.
        note: Option<String>,
    }
    /// What to change of a VM.
    VmPatch {
        /// Unique in the namespace.
        name: Option<String>,
        /// The network.
        network: Option<String>,
        /// Unique in the network.
        address: Option<String>,
        /// Where its sshd listens.
        ssh_port: Option<u16>,
        /// At most 255 characters.
        note: Option<String>,
    }
    /// A user to make.
    UserInput {
        /// 3 to 32 letters, digits, `-` and `_`; unique without regard to case.
        name: String,
        /// `role` or `role:namespace`, separated by spaces.
        grant: Option<String>,
        /// True when absent.
        enabled: Option<bool>,
        /// When access by SSH ends, RFC 3339; never when absent.
        ssh_until: Option<String>,
        /// Jumps at once in one gateway.
        ssh_sessions_max: Option<u16>,
        /// At most 255 characters.
        note: Option<String>,
    }
    /// What to change of a user.
    UserPatch {
        /// Unique without regard to case.
        name: Option<String>,
        /// All grants, separated by spaces.
        grant: Option<String>,
        /// Whether they may do anything.
        enabled: Option<bool>,
        /// When access by SSH ends, RFC 3339; null is never.
        ssh_until: Option<String>,
        /// Jumps at once in one gateway; null is the bound of everybody.
        ssh_sessions_max: Option<u16>,
        /// At most 255 characters.
        note: Option<String>,
    }
    /// A public key to add.
    UserKeyInput {
        /// One line of a `.pub` file.
        key: String,
    }
    /// Public keys to add, all or none.
    UserKeyImportInput {
        /// A whole `authorized_keys` file.
        authorized_keys: String,
    }
    /// An authority of people's SSH certificates to believe.
    SshCaInput {
        /// Letters, digits, `-`, `_` and `.`; unique.
        name: String,
        /// One line of a `.pub` file.
        key: String,
        /// At most 255 characters.
        note: Option<String>,
    }
    /// Certificates that are no longer good.
    SshCaRevocation {
        /// Their serial numbers; not 0.
        serials: Option<Vec<u64>>,
        /// Their key ids.
        key_ids: Option<Vec<String>>,
        /// The keys they certify: `SHA256:…`, a public key, or a certificate.
        keys: Option<Vec<String>>,
    }
    /// A step of a rotation.
    SshRotation {
        /// Puts the announced key in the place of the current one.
        finish: Option<bool>,
    }
    /// Names of the gate to certify.
    SshCertification {
        /// All of them; an empty list takes the certificates back.
        names: Vec<String>,
    }
    /// A right to reach ports of machines by SSH.
    SshGrantInput {
        /// Id of one machine; or `namespace`.
        vm: Option<String>,
        /// All machines of a namespace; or `vm`.
        namespace: Option<String>,
        /// `22,8000-8010`; `22` when absent.
        ports: Option<String>,
        /// When it ends, RFC 3339; never when absent.
        until: Option<String>,
        /// At most 255 characters.
        note: Option<String>,
    }
    /// A token to make.
    TokenInput {
        /// The user; oneself when absent.
        subject: Option<String>,
        /// `10m` when absent, at most `24h`.
        duration: Option<String>,
        /// Less than the user holds; all of it when absent.
        grant: Option<String>,
        /// At most 255 characters.
        note: Option<String>,
    }
    /// The first root user.
    SetupInput {
        /// The token that the first start printed, if it is not sent as bearer.
        token: Option<String>,
        /// `root` when absent.
        name: Option<String>,
    }
    /// A join token to make.
    JoinTokenInput {
        /// The only name it may enrol.
        name: Option<String>,
        /// `1h` when absent, at most `24h`.
        duration: Option<String>,
    }
    /// An account with an ACME authority to make known.
    AcmeAccountInput {
        /// `a-z`, `0-9`, `-`; unique.
        name: String,
        /// URL of the authority's directory, `letsencrypt` or `letsencrypt-staging`.
        directory: String,
        /// Mail addresses that the authority may write to.
        contacts: Option<Vec<String>>,
        /// Must be true: the authority's terms of service were read and agreed to.
        agree_tos: bool,
        /// `http-01`, `tls-alpn-01` or `dns-01`; `dns-01` when absent and `dns` is there, else `http-01`.
        challenge: Option<String>,
        /// Key id of an account that the authority made elsewhere.
        eab_kid: Option<String>,
        /// Its HMAC key in base64url. Never shown again.
        eab_hmac: Option<String>,
        /// Root certificates of a private authority as PEM.
        roots: Option<String>,
        /// Where names are looked up, as addresses; the resolvers of control's machine when absent.
        resolvers: Option<Vec<String>>,
        /// Where TXT records are put: `provider` is `rfc2136` (`server`, `zone`, `key_name`, `algorithm`, `secret`) or
        /// `exec` (`program`); with `delegated: true` records
        /// are put where the alias at `_acme-challenge` leads.
        #[schema(value_type = Option<Object>)]
        dns: Option<serde_json::Value>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{
        acme, authority, certificate, console, forward, join_token, route, setup, ssh, token, user, user_key,
        vm, vm_host_key,
    };

    #[test]
    fn the_described_bodies_have_the_members_that_are_read() {
        // `grants` is another spelling of `grant`; what cannot be changed is no part of a patch.
        let same = |described: &[&str], read: &[&str], not_described: &[&str]| {
            let mut described = described.to_vec();
            described.extend(not_described);
            described.sort_unstable();
            let mut read = read.to_vec();
            read.sort_unstable();
            assert_eq!(described, read);
        };
        // `match` is a word of Rust.
        let route: Vec<_> =
            route::input::KNOWN.iter().map(|name| if *name == "match" { "matchers" } else { name }).collect();
        same(RouteInput::FIELDS, &route, &[]);
        same(RoutePatch::FIELDS, &route, &["namespace", "protocol"]);
        same(EndpointPatch::FIELDS, route::endpoint::KNOWN, &[]);
        same(CertificateInput::FIELDS, certificate::input::KNOWN, &[]);
        same(CertificatePatch::FIELDS, certificate::input::KNOWN, &["source", "namespace", "names", "csr"]);
        same(CsrInput::FIELDS, certificate::input::SUBJECT, &[]);
        same(CertificateLoad::FIELDS, certificate::input::LOADED, &[]);
        same(AuthorityInput::FIELDS, authority::KNOWN, &[]);
        same(CertificateRenewal::FIELDS, &["force"], &[]);
        same(CertificateRevocation::FIELDS, &["reason"], &[]);
        same(ForwardInput::FIELDS, forward::input::KNOWN, &[]);
        same(ForwardPatch::FIELDS, forward::input::KNOWN, &["namespace"]);
        same(ConsoleInput::FIELDS, console::input::KNOWN, &[]);
        same(ConsolePatch::FIELDS, console::input::KNOWN, &["vm", "kind", "namespace"]);
        same(TicketInput::FIELDS, console::ticket::KNOWN, &[]);
        same(VmHostKeyInput::FIELDS, vm_host_key::KNOWN, &[]);
        same(VmInput::FIELDS, vm::KNOWN, &[]);
        same(VmPatch::FIELDS, vm::KNOWN, &["namespace"]);
        same(UserInput::FIELDS, user::KNOWN, &["grants"]);
        same(UserPatch::FIELDS, user::KNOWN, &["grants"]);
        same(UserKeyInput::FIELDS, user_key::KNOWN, &[]);
        same(UserKeyImportInput::FIELDS, user_key::IMPORTED, &[]);
        same(SshCaInput::FIELDS, ssh::ca::KNOWN, &[]);
        same(SshCaRevocation::FIELDS, ssh::ca::REVOKED, &[]);
        same(SshRotation::FIELDS, ssh::host_key::ROTATION, &[]);
        same(SshCertification::FIELDS, ssh::host_key::CERTIFIED, &[]);
        same(SshGrantInput::FIELDS, ssh::grant::KNOWN, &[]);
        same(TokenInput::FIELDS, token::KNOWN, &["grants"]);
        same(SetupInput::FIELDS, setup::KNOWN, &[]);
        same(JoinTokenInput::FIELDS, join_token::KNOWN, &[]);
        same(AcmeAccountInput::FIELDS, acme::account::KNOWN, &[]);
    }
}
