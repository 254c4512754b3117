-- Orgs with numbers of their own, keys that were made by keys, and what happened.

ALTER TABLE orgs ADD COLUMN numbers TEXT;

ALTER TABLE api_keys ADD COLUMN parent TEXT;

CREATE INDEX api_keys_of_parent ON api_keys (parent);

-- Who began the flow, as JSON: the actor of the connection that it makes.
ALTER TABLE flows ADD COLUMN actor TEXT;

-- Appended only. `actor` is JSON and set where somebody did it: that is the audit trail. Ids sort by time.
CREATE TABLE events (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL,
    mode TEXT NOT NULL,
    kind TEXT NOT NULL,
    type TEXT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT,
    data TEXT NOT NULL
);

CREATE INDEX events_of_org ON events (org, id);
