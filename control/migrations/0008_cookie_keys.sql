-- What sticky cookies are sealed with, sealed. Gateways had derived it from the SSH host key.

CREATE TABLE cookie_keys (
    id TEXT PRIMARY KEY,
    secret_sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
