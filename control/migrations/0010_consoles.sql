-- Consoles of machines, one of a kind for each, and the keys that sign their tickets.

CREATE TABLE consoles (
    id TEXT PRIMARY KEY,
    -- The VM's.
    namespace TEXT NOT NULL,
    vm_id TEXT NOT NULL REFERENCES vms (id),
    -- 'vnc', 'ttyd', 'ssh' or 'serial'.
    kind TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    -- An address that root wrote; NULL is the VM's.
    address TEXT,
    loopback_ok BOOLEAN NOT NULL,
    port BIGINT NOT NULL,
    -- What is asked of a console that speaks WebSocket itself; NULL is bytes over TCP.
    path TEXT,
    secret_sealed TEXT,
    read_only BOOLEAN NOT NULL,
    on_change TEXT NOT NULL,
    on_delete TEXT NOT NULL,
    note TEXT NOT NULL,
    owner TEXT,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX consoles_kind ON consoles (vm_id, kind) WHERE deleted_at IS NULL;
CREATE INDEX consoles_namespace ON consoles (namespace, id) WHERE deleted_at IS NULL;

CREATE TABLE signing_keys (
    id TEXT PRIMARY KEY,
    -- The seed of an Ed25519 key, sealed.
    seed_sealed TEXT NOT NULL,
    public_key TEXT NOT NULL,
    -- 'next', 'current' or 'old'.
    stage TEXT NOT NULL,
    staged_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
