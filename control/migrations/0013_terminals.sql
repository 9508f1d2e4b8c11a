-- Terminals in the browser: the account on a VM, and the host keys that its sshd has shown.

-- Of an ssh console; NULL is root.
ALTER TABLE consoles ADD COLUMN login TEXT;

CREATE TABLE vm_host_keys (
    vm_id TEXT NOT NULL REFERENCES vms (id),
    fingerprint TEXT NOT NULL,
    blob TEXT NOT NULL,
    -- 'accepted' or 'refused'.
    state TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (vm_id, fingerprint)
);
