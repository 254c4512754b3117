-- Runs that wait, that are done by whoever comes first, that are replayed; and the answers that are kept of them.

-- A hash of scope and Idempotency-Key, and of what was asked: whoever asks again gets the same run.
ALTER TABLE runs ADD COLUMN idempotency TEXT;
ALTER TABLE runs ADD COLUMN fingerprint TEXT;
-- Which later reads the answer may serve.
ALTER TABLE runs ADD COLUMN cache_key TEXT;
-- Sealed: what was asked, for a run that is carried out later or may be retried.
ALTER TABLE runs ADD COLUMN request BLOB;
-- Bytes of the answer that is kept in `blobs` under the run's id; NULL where none is.
ALTER TABLE runs ADD COLUMN kept BIGINT;
-- Why there is no answer, as JSON: envelope 2.
ALTER TABLE runs ADD COLUMN refusal TEXT;
-- As JSON: how far the upstream says it is.
ALTER TABLE runs ADD COLUMN progress TEXT;
-- The queue: when it is due, how urgent, who does it until when, for which time. `due_at` is NULL for all others.
ALTER TABLE runs ADD COLUMN due_at BIGINT;
ALTER TABLE runs ADD COLUMN priority BIGINT;
ALTER TABLE runs ADD COLUMN owner TEXT;
ALTER TABLE runs ADD COLUMN lease_until BIGINT;
ALTER TABLE runs ADD COLUMN attempts BIGINT;
-- 1 once the upstream may have been asked: whoever finds the lease run out must not ask again, unless it is safe to.
ALTER TABLE runs ADD COLUMN sent BIGINT;
ALTER TABLE runs ADD COLUMN safe BIGINT;
-- As JSON: what the upstream's own long work is asked for, and until when.
ALTER TABLE runs ADD COLUMN poll TEXT;
-- 1 where somebody wants it to stop.
ALTER TABLE runs ADD COLUMN stopping BIGINT;
ALTER TABLE runs ADD COLUMN callback_url TEXT;
-- Which process carries out a plain call: where it no longer lives, nobody will ever know more of the call.
ALTER TABLE runs ADD COLUMN process TEXT;

CREATE UNIQUE INDEX runs_idempotency ON runs (org, idempotency) WHERE idempotency IS NOT NULL;
CREATE INDEX runs_cached ON runs (org, cache_key) WHERE cache_key IS NOT NULL;
CREATE INDEX runs_leased ON runs (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX runs_due ON runs (org, priority, due_at) WHERE due_at IS NOT NULL;

-- Kept answers and files, in parts that are sealed one by one. `place` is the blob, the number of the part and
-- whether it is the last one; it belongs to the seal, so that parts cannot be swapped, left out or cut off.
CREATE TABLE blobs (
    org TEXT NOT NULL,
    place TEXT NOT NULL,
    sealed BLOB NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org, place)
);

CREATE INDEX blobs_by_expiry ON blobs (expires_at);
