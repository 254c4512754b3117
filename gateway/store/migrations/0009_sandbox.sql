-- What test keys made and changed. `id` is a hash of key, kind, place and name, so that two at once do not make one twice.
CREATE TABLE sandbox_things (
    org TEXT NOT NULL REFERENCES orgs (id),
    id TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    sealed BLOB NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (org, id)
);

CREATE INDEX sandbox_things_by_key ON sandbox_things (org, key, changed_at);
CREATE INDEX sandbox_things_by_age ON sandbox_things (changed_at);
