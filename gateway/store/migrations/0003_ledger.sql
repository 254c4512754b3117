-- What calls cost, and every movement of credits.

-- What the call costs once its upstream was reached; NULL is never charged (a sandbox call).
ALTER TABLE runs ADD COLUMN credits BIGINT;

-- The entry of a call has the id of its run, so that none is charged twice. Entries outlive runs.
CREATE TABLE entries (
    org TEXT NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    at BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    run TEXT,
    key TEXT,
    integration TEXT,
    action TEXT,
    note TEXT,
    PRIMARY KEY (org, id)
);

CREATE INDEX entries_by_time ON entries (org, at, id);
