-- SSH: whose certificates are believed, what people reach beyond their role and until when, and keys that are rotated.

ALTER TABLE users ADD COLUMN ssh_until BIGINT;
ALTER TABLE users ADD COLUMN ssh_sessions_max BIGINT;

ALTER TABLE host_keys ADD COLUMN stage TEXT NOT NULL DEFAULT 'current';
ALTER TABLE host_keys ADD COLUMN certificate TEXT;

CREATE TABLE ssh_user_cas (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    blob TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    revoked TEXT NOT NULL,
    note TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX ssh_user_cas_name ON ssh_user_cas (name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX ssh_user_cas_key ON ssh_user_cas (fingerprint) WHERE deleted_at IS NULL;

CREATE TABLE ssh_grants (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    vm_id TEXT,
    namespace TEXT,
    ports TEXT NOT NULL,
    until BIGINT,
    note TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX ssh_grants_user ON ssh_grants (user_id) WHERE deleted_at IS NULL;
CREATE INDEX ssh_grants_vm ON ssh_grants (vm_id) WHERE deleted_at IS NULL;

-- The product's own authorities: one signs the gate's host keys, one minutes-long certificates of the browser terminal.
CREATE TABLE ssh_authorities (
    purpose TEXT PRIMARY KEY,
    public_line TEXT NOT NULL,
    private_sealed TEXT NOT NULL,
    names TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
