-- Keys of control itself that no gateway is ever sent: the internal authority and what it signed for the stream.

CREATE TABLE internal_keys (
    name TEXT PRIMARY KEY,
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
