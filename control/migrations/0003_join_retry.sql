-- The request that a join token was redeemed with (SHA-256, hex), so that a gateway that lost the answer is answered again.

ALTER TABLE join_tokens ADD COLUMN csr_digest TEXT;
