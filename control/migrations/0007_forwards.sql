-- Port forwards. A disabled one keeps its ports. Two may share the first port only on different addresses; that their
-- rows of ports do not overlap is seen to in the transaction, which the generation row serialises.

CREATE TABLE forwards (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    -- 'tcp' or 'udp'.
    protocol TEXT NOT NULL,
    -- '' is every address of both families.
    bind TEXT NOT NULL,
    port_first BIGINT NOT NULL,
    port_last BIGINT NOT NULL,
    endpoint_id TEXT NOT NULL,
    -- A VM, or an address that root wrote.
    vm_id TEXT REFERENCES vms (id),
    address TEXT,
    loopback_ok BOOLEAN NOT NULL,
    target_port BIGINT NOT NULL,
    -- Networks, separated by spaces; '' is everybody.
    sources TEXT NOT NULL,
    proxy_protocol TEXT,
    flows_max BIGINT,
    flows_per_second BIGINT,
    idle_ms BIGINT,
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
CREATE UNIQUE INDEX forwards_port ON forwards (protocol, port_first, bind) WHERE deleted_at IS NULL;
CREATE INDEX forwards_namespace ON forwards (namespace, id) WHERE deleted_at IS NULL;
CREATE INDEX forwards_vm ON forwards (vm_id) WHERE deleted_at IS NULL;
