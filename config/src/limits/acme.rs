//! Orders of certificates, and the name servers that they need.

/// Pause in seconds before a gateway asks again for a certificate that did not come: a third of its life is left.
pub const RENEWAL_PAUSE_SECONDS: i64 = 60 * 60;
/// Time that every gateway gets to answer a challenge before the authority is told to look, in milliseconds.
pub const CHALLENGE_ACKNOWLEDGED_MS: u64 = 30_000;
/// Time that every authoritative server gets to show a TXT record, in milliseconds: secondaries are told within seconds.
pub const ACME_PROPAGATION_MS: u64 = 120_000;
/// Resolvers of an account with a certificate authority.
pub const ACME_RESOLVERS_MAX: usize = 3;
/// Orders that are worked on at once: each speaks to an authority that counts.
pub const ACME_ORDERS_AT_ONCE_MAX: usize = 8;
/// Questions after an order that stands still, seconds apart, before it is given up and begun anew.
pub const ACME_POLLS_MAX: u32 = 120;
/// First and longest pause in seconds before a step of an order is taken again.
pub const ACME_RETRY_SECONDS: (u64, u64) = (30, 60 * 60);
/// Contacts of an account with a certificate authority.
pub const ACME_ACCOUNT_CONTACTS_MAX: usize = 8;
/// Names in one order: what the strictest public authority takes (Let's Encrypt: 100 per certificate).
pub const ACME_NAMES_MAX: usize = 100;
/// Contacts of one ACME account.
pub const ACME_CONTACTS_MAX: usize = 8;
/// Time for one request to an ACME authority, the connection and TLS included, in milliseconds.
pub const ACME_REQUEST_DEADLINE_MS: u64 = 30_000;
/// Time for one step of an order in milliseconds: with a hundred names it is some two hundred requests.
pub const ACME_STEP_DEADLINE_MS: u64 = 5 * 60 * 1000;
/// Longest answer of an ACME authority in bytes: a chain has a few thousand, a directory less.
pub const ACME_ANSWER_BYTES_MAX: usize = 512 * 1024;
/// Certificates in a chain that an authority hands out.
pub const ACME_CHAIN_MAX: usize = 10;
/// Times a request is tried again because the authority did not like its nonce, three attempts of the library each.
pub const ACME_NONCE_TRIES: usize = 6;
/// Characters of what an authority says that are shown.
pub const ACME_DETAIL_CHARS_MAX: usize = 600;
/// Time for one question to a name server in milliseconds, over UDP and then TCP.
pub const DNS_QUESTION_DEADLINE_MS: u64 = 5_000;
/// Times a question over UDP is sent before it counts as unanswered.
pub const DNS_QUESTION_TRIES: u32 = 3;
/// Aliases followed from one name; resolvers give up at about as many.
pub const DNS_ALIASES_MAX: usize = 8;
/// Authoritative servers of a zone that are asked; the protocol's own priming answer has 13.
pub const DNS_SERVERS_MAX: usize = 16;
/// Time between two rounds of questions while a record spreads, in milliseconds.
pub const DNS_PROPAGATION_PAUSE_MS: u64 = 2_000;
/// Output of a DNS hook that is kept, in bytes; its end is shown when it fails.
pub const DNS_HOOK_OUTPUT_BYTES_MAX: usize = 8 * 1024;
/// Time for one run of a DNS hook in milliseconds, if the settings say nothing else.
pub const DNS_HOOK_DEADLINE_MS: u64 = 120_000;
/// Time for one look of our own at a challenge's answer in milliseconds; authorities allow about as much.
pub const ACME_LOOK_DEADLINE_MS: u64 = 10_000;
/// Longest answer to such a look in bytes: a key authorization has 87.
pub const ACME_LOOK_BYTES_MAX: usize = 4 * 1024;
