-- Certificates as a resource: whose they are, how they came, what became of the last try; some wait for their chain, whose
-- text is '' until then and expires_at 0. identity_names holds what a certificate is for; what it is published for are the
-- hosts of the routes that use it.

ALTER TABLE identities ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE identities ADD COLUMN namespace TEXT NOT NULL DEFAULT 'default';
ALTER TABLE identities ADD COLUMN status TEXT NOT NULL DEFAULT 'active';
ALTER TABLE identities ADD COLUMN last_error TEXT;
ALTER TABLE identities ADD COLUMN next_try BIGINT;
ALTER TABLE identities ADD COLUMN issuer TEXT;
ALTER TABLE identities ADD COLUMN serial TEXT;
ALTER TABLE identities ADD COLUMN not_before BIGINT;
ALTER TABLE identities ADD COLUMN account TEXT;
ALTER TABLE identities ADD COLUMN challenge TEXT;
ALTER TABLE identities ADD COLUMN key_kind TEXT;
ALTER TABLE identities ADD COLUMN csr TEXT;
ALTER TABLE identities ADD COLUMN csr_key_sealed TEXT;
ALTER TABLE identities ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE identities ADD COLUMN owner TEXT;
UPDATE identities SET name = COALESCE((SELECT MIN(pattern) FROM identity_names WHERE identity_id = identities.id), '');
CREATE INDEX identities_namespace ON identities (namespace, id) WHERE deleted_at IS NULL;
CREATE INDEX identities_source ON identities (source, status, next_try) WHERE deleted_at IS NULL;

ALTER TABLE routes ADD COLUMN certificate_id TEXT REFERENCES identities (id);
ALTER TABLE routes ADD COLUMN tls_policy TEXT;
CREATE INDEX routes_certificate ON routes (certificate_id) WHERE deleted_at IS NULL;
CREATE INDEX routes_host ON routes (host) WHERE deleted_at IS NULL;
