//! The field names that the gateway looks at. Recognised once, while the head is read.

/// A field name that means something to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the field of that name")]
pub enum Known {
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Expect,
    Upgrade,
    KeepAlive,
    ProxyConnection,
    ProxyAuthenticate,
    ProxyAuthorization,
    Proxy,
    Te,
    Trailer,
    Http2Settings,
    Forwarded,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XForwardedPort,
    XRealIp,
    XRequestId,
    StrictTransportSecurity,
    Accept,
    Traceparent,
    Tracestate,
    UserAgent,
    Referer,
    /// `X-Forwarded-` and something else.
    XForwardedOther,
    /// A name that CGI programs cannot tell from one that frames the message: `Content_Length`.
    Disguised,
    /// Any other.
    Other,
}

impl Known {
    /// What `name` is, in any case.
    pub fn of(name: &[u8]) -> Self {
        if memchr::memchr(b'_', name).is_some() {
            return Self::of_underscored(name);
        }
        Self::of_dashed(name)
    }

    /// The same for a name without an underscore.
    pub(super) fn of_dashed(name: &[u8]) -> Self {
        let candidates: &[(&[u8], Self)] = match name.len() {
            2 => &[(b"te", Self::Te)],
            4 => &[(b"host", Self::Host)],
            5 => &[(b"proxy", Self::Proxy)],
            6 => &[(b"accept", Self::Accept), (b"expect", Self::Expect)],
            7 => &[(b"upgrade", Self::Upgrade), (b"trailer", Self::Trailer), (b"referer", Self::Referer)],
            9 => &[(b"forwarded", Self::Forwarded), (b"x-real-ip", Self::XRealIp)],
            10 => &[
                (b"connection", Self::Connection),
                (b"keep-alive", Self::KeepAlive),
                (b"user-agent", Self::UserAgent),
                (b"tracestate", Self::Tracestate),
            ],
            11 => &[(b"traceparent", Self::Traceparent)],
            12 => &[(b"x-request-id", Self::XRequestId)],
            14 => &[(b"content-length", Self::ContentLength), (b"http2-settings", Self::Http2Settings)],
            15 => &[(b"x-forwarded-for", Self::XForwardedFor)],
            16 => &[
                (b"proxy-connection", Self::ProxyConnection),
                (b"x-forwarded-host", Self::XForwardedHost),
                (b"x-forwarded-port", Self::XForwardedPort),
            ],
            17 => &[
                (b"transfer-encoding", Self::TransferEncoding),
                (b"x-forwarded-proto", Self::XForwardedProto),
            ],
            18 => &[(b"proxy-authenticate", Self::ProxyAuthenticate)],
            19 => &[(b"proxy-authorization", Self::ProxyAuthorization)],
            25 => &[(b"strict-transport-security", Self::StrictTransportSecurity)],
            _ => &[],
        };
        candidates
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map_or_else(|| Self::of_prefix(name), |(_, known)| *known)
    }

    fn of_prefix(name: &[u8]) -> Self {
        let is_forwarding = name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded-"));
        if is_forwarding { Self::XForwardedOther } else { Self::Other }
    }

    /// To CGI, WSGI and PHP `X_Real_IP` and `X-Real-IP` are one variable.
    pub(super) fn of_underscored(name: &[u8]) -> Self {
        let mut dashed = [0; 32];
        let Some(room) = dashed.get_mut(..name.len()) else { return Self::Other };
        for (to, from) in room.iter_mut().zip(name) {
            *to = if *from == b'_' { b'-' } else { *from };
        }
        match Self::of_dashed(room) {
            Self::Other
            | Self::Accept
            | Self::Traceparent
            | Self::Tracestate
            | Self::UserAgent
            | Self::Referer => Self::Other,
            Self::XForwardedFor
            | Self::XForwardedHost
            | Self::XForwardedProto
            | Self::XForwardedPort
            | Self::XForwardedOther
            | Self::Forwarded
            | Self::XRealIp
            | Self::XRequestId
            | Self::StrictTransportSecurity
            | Self::Host
            | Self::Connection
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::Expect
            | Self::Upgrade
            | Self::KeepAlive
            | Self::ProxyConnection
            | Self::ProxyAuthenticate
            | Self::ProxyAuthorization
            | Self::Proxy
            | Self::Te
            | Self::Trailer
            | Self::Http2Settings
            | Self::Disguised => Self::Disguised,
        }
    }

    /// Whether the field is for the next hop alone and never passes (RFC 9110 § 7.6.1), or would mislead behind a
    /// gateway (`Proxy` becomes a variable of CGI programs).
    pub const fn is_hop_by_hop(self) -> bool {
        match self {
            Self::Connection
            | Self::TransferEncoding
            | Self::Upgrade
            | Self::KeepAlive
            | Self::ProxyConnection
            | Self::ProxyAuthenticate
            | Self::ProxyAuthorization
            | Self::Proxy
            | Self::Te
            | Self::Http2Settings
            | Self::Disguised => true,
            // Passes with the trailers it announces: beside chunks.
            Self::Trailer
            | Self::Host
            | Self::ContentLength
            | Self::Expect
            | Self::Forwarded
            | Self::XForwardedFor
            | Self::XForwardedHost
            | Self::XForwardedProto
            | Self::XForwardedPort
            | Self::XRealIp
            | Self::XRequestId
            | Self::StrictTransportSecurity
            | Self::Accept
            | Self::Traceparent
            | Self::Tracestate
            | Self::UserAgent
            | Self::Referer
            | Self::XForwardedOther
            | Self::Other => false,
        }
    }
}
