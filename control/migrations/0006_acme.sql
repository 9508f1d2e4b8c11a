-- What ACME needs besides the certificates themselves, and the keys of session tickets. Rows of challenges and ticket
-- keys are published; accounts, orders and their logs never leave control.

CREATE TABLE ticket_keys (
    id TEXT PRIMARY KEY,
    secret_sealed TEXT NOT NULL,
    -- 'next' and 'old' only open tickets; exactly one is 'current' and seals.
    stage TEXT NOT NULL,
    staged_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE challenges (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    host TEXT NOT NULL,
    -- 'http-01' or 'tls-alpn-01'.
    kind TEXT NOT NULL,
    -- The token of http-01; '' otherwise.
    token TEXT NOT NULL,
    -- The key authorization, or the certificate.
    answer TEXT NOT NULL,
    key_sealed TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX challenges_order ON challenges (order_id);

CREATE TABLE acme_accounts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    directory TEXT NOT NULL,
    contacts TEXT NOT NULL,
    roots TEXT NOT NULL,
    resolvers TEXT NOT NULL,
    challenge TEXT NOT NULL,
    eab_kid TEXT,
    eab_key_sealed TEXT,
    -- JSON in the form of the API, without the secret.
    dns TEXT,
    dns_secret_sealed TEXT,
    -- What the authority knows us by; null until the first order registered it.
    credentials_sealed TEXT,
    url TEXT,
    agreed_at BIGINT NOT NULL,
    last_error TEXT,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX acme_accounts_name ON acme_accounts (name) WHERE deleted_at IS NULL;

CREATE TABLE acme_orders (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES acme_accounts (id),
    -- The certificate that it is for, and whose that is.
    certificate_id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    -- Sorted, separated by spaces.
    names TEXT NOT NULL,
    challenge TEXT NOT NULL,
    -- 'renewal' or 'request'.
    reason TEXT NOT NULL,
    step TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_try BIGINT NOT NULL,
    last_error TEXT,
    -- What each step left for the next, as JSON; the key is apart and sealed.
    progress TEXT NOT NULL,
    key_sealed TEXT,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    finished_at BIGINT
);
-- One open order for a set of names, whoever asks for it and however often control is killed.
CREATE UNIQUE INDEX acme_orders_names ON acme_orders (names) WHERE finished_at IS NULL;
CREATE INDEX acme_orders_due ON acme_orders (next_try) WHERE finished_at IS NULL;
CREATE INDEX acme_orders_certificate ON acme_orders (certificate_id);

CREATE TABLE acme_log (
    order_id TEXT NOT NULL REFERENCES acme_orders (id),
    line BIGINT NOT NULL,
    at BIGINT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (order_id, line)
);
