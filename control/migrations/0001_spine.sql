-- One text for both engines: TEXT, BIGINT, BOOLEAN; times are microseconds UTC; live rows are unique, dead ones are not.

CREATE TABLE meta (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    lineage TEXT NOT NULL,
    generation BIGINT NOT NULL,
    admin_address TEXT,
    setup_hash TEXT,
    setup_closed BOOLEAN NOT NULL
);

CREATE TABLE change_log (
    generation BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    object_id TEXT NOT NULL,
    PRIMARY KEY (generation, kind, object_id)
);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    grants TEXT NOT NULL,
    is_root BOOLEAN NOT NULL,
    note TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX users_name ON users (name_folded) WHERE deleted_at IS NULL;
CREATE INDEX users_root ON users (is_root) WHERE deleted_at IS NULL;

CREATE TABLE user_keys (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    algorithm TEXT NOT NULL,
    blob TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    comment TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX user_keys_fingerprint ON user_keys (fingerprint) WHERE deleted_at IS NULL;
CREATE INDEX user_keys_user ON user_keys (user_id) WHERE deleted_at IS NULL;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    grants TEXT NOT NULL,
    note TEXT NOT NULL,
    issued_by TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX tokens_user ON tokens (user_id) WHERE deleted_at IS NULL;

CREATE TABLE gateways (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    certificate_fingerprint TEXT NOT NULL,
    certificate_expires_at BIGINT NOT NULL,
    acked_generation BIGINT,
    seen_at BIGINT,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX gateways_name ON gateways (name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX gateways_fingerprint ON gateways (certificate_fingerprint) WHERE deleted_at IS NULL;

CREATE TABLE join_tokens (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    gateway_name TEXT,
    issued_by TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    gateway_id TEXT REFERENCES gateways (id),
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);

CREATE TABLE vms (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    namespace TEXT NOT NULL,
    network TEXT NOT NULL,
    address TEXT NOT NULL,
    ssh_port BIGINT NOT NULL,
    loopback_ok BOOLEAN NOT NULL,
    note TEXT NOT NULL,
    owner TEXT,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX vms_name ON vms (namespace, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX vms_label ON vms (namespace, label) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX vms_address ON vms (network, address) WHERE deleted_at IS NULL;
CREATE INDEX vms_name_anywhere ON vms (name) WHERE deleted_at IS NULL;
CREATE INDEX vms_address_anywhere ON vms (address) WHERE deleted_at IS NULL;

CREATE TABLE routes (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    host TEXT NOT NULL,
    path TEXT NOT NULL,
    tls TEXT NOT NULL,
    redirect_https BOOLEAN NOT NULL,
    hsts_seconds BIGINT,
    websocket BOOLEAN NOT NULL,
    service TEXT,
    service_endpoint TEXT,
    on_change TEXT NOT NULL,
    on_delete TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    note TEXT NOT NULL,
    owner TEXT,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX routes_match ON routes (host, path) WHERE deleted_at IS NULL;
CREATE INDEX routes_namespace ON routes (namespace, id) WHERE deleted_at IS NULL;

CREATE TABLE endpoints (
    id TEXT PRIMARY KEY,
    route_id TEXT NOT NULL REFERENCES routes (id),
    position BIGINT NOT NULL,
    host TEXT NOT NULL,
    port BIGINT NOT NULL,
    vm_id TEXT REFERENCES vms (id),
    loopback_ok BOOLEAN NOT NULL
);
CREATE INDEX endpoints_route ON endpoints (route_id, position);
CREATE INDEX endpoints_vm ON endpoints (vm_id);

CREATE TABLE identities (
    id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    chain TEXT NOT NULL,
    key_sealed TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);

CREATE TABLE identity_names (
    pattern TEXT NOT NULL,
    identity_id TEXT NOT NULL REFERENCES identities (id),
    PRIMARY KEY (pattern, identity_id)
);
CREATE INDEX identity_names_identity ON identity_names (identity_id);

CREATE TABLE host_keys (
    id TEXT PRIMARY KEY,
    private_sealed TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);

CREATE TABLE audits (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    method TEXT NOT NULL,
    token_id TEXT,
    source TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    object_kind TEXT NOT NULL,
    object_id TEXT,
    namespace TEXT,
    before TEXT,
    after TEXT,
    result TEXT NOT NULL
);
CREATE INDEX audits_object ON audits (object_id, id);
CREATE INDEX audits_namespace ON audits (namespace, id);
CREATE INDEX identities_end ON identities (expires_at) WHERE deleted_at IS NULL;
