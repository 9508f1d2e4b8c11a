-- What a route asks of requests and does with them, as JSON texts in the form of the API (control/src/options.rs), and
-- the share of each endpoint. Live routes are unique by host, path and a digest of their other conditions; '' is none.

ALTER TABLE routes ADD COLUMN matchers TEXT;
ALTER TABLE routes ADD COLUMN match_key TEXT NOT NULL DEFAULT '';
ALTER TABLE routes ADD COLUMN filters TEXT;
ALTER TABLE routes ADD COLUMN timeouts TEXT;
ALTER TABLE routes ADD COLUMN upstream TEXT;
ALTER TABLE routes ADD COLUMN client_key_sealed TEXT;
ALTER TABLE routes ADD COLUMN answer TEXT;
ALTER TABLE endpoints ADD COLUMN weight BIGINT NOT NULL DEFAULT 1;
ALTER TABLE endpoints ADD COLUMN draining BOOLEAN NOT NULL DEFAULT FALSE;
DROP INDEX routes_match;
CREATE UNIQUE INDEX routes_match ON routes (host, path, match_key) WHERE deleted_at IS NULL;
