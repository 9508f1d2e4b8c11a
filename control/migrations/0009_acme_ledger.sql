-- What was asked of certificate authorities, so that their limits by the week outlive a restart; and who works on what
-- only one control may do at a time.

CREATE TABLE acme_ledger (
    -- Written before the authority is asked: a request whose answer was lost counts as well.
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    directory TEXT NOT NULL,
    -- Sorted, separated by spaces.
    names TEXT NOT NULL,
    at BIGINT NOT NULL,
    is_renewal BOOLEAN NOT NULL,
    -- No certificate comes of it any more.
    is_failed BOOLEAN NOT NULL
);
CREATE INDEX acme_ledger_at ON acme_ledger (directory, at);
CREATE INDEX acme_ledger_order ON acme_ledger (order_id);

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    -- Counts the holders; each write of one names it.
    epoch BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
