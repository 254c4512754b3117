-- What happened is told to others, and what happens elsewhere is told to us.

-- 1 until the deliveries of the event are made; NULL where there are none to be made.
ALTER TABLE events ADD COLUMN pending BIGINT;

CREATE INDEX events_pending ON events (id) WHERE pending IS NOT NULL;

-- `secrets` is sealed. `key` made it and `grant` is a copy of that key's: what it may not see is not told.
CREATE TABLE webhooks (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL REFERENCES orgs (id),
    mode TEXT NOT NULL,
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    description TEXT,
    "grant" TEXT NOT NULL,
    key TEXT,
    actor TEXT NOT NULL,
    secrets BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT,
    disabled_reason TEXT
);

CREATE INDEX webhooks_of_org ON webhooks (org, created_at);

-- `secrets` is sealed: what signs the callbacks of an org.
CREATE TABLE signing_secrets (
    org TEXT NOT NULL REFERENCES orgs (id),
    mode TEXT NOT NULL,
    secrets BLOB NOT NULL,
    PRIMARY KEY (org, mode)
);

-- Where deliveries go: a webhook by its id, or an origin to which callbacks of the org go.
-- `due_at` is when to look for one that can be sent, NULL where none is left; never before `resume_at`.
CREATE TABLE endpoints (
    org TEXT NOT NULL,
    name TEXT NOT NULL,
    due_at BIGINT,
    resume_at BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    failing_since BIGINT,
    PRIMARY KEY (org, name)
);

CREATE INDEX endpoints_due ON endpoints (due_at) WHERE due_at IS NOT NULL;

-- `next_at` is when it is due, NULL once it is over; while it is being sent, when that claim runs out.
-- `attempt` counts claims and tells a late one from the present one; `tries` is its place in the schedule.
CREATE TABLE deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    url TEXT,
    mode TEXT NOT NULL,
    event TEXT NOT NULL,
    type TEXT NOT NULL,
    payload BLOB NOT NULL,
    state TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT,
    claimed_until BIGINT,
    status BIGINT,
    error TEXT,
    answer TEXT,
    created_at BIGINT NOT NULL,
    last_at BIGINT,
    finished_at BIGINT,
    UNIQUE (org, endpoint, event)
);

CREATE INDEX deliveries_of_endpoint ON deliveries (org, endpoint, id);

CREATE INDEX deliveries_due ON deliveries (org, endpoint, next_at) WHERE next_at IS NOT NULL;

CREATE INDEX deliveries_claimed ON deliveries (org, endpoint) WHERE claimed_until IS NOT NULL;

CREATE INDEX deliveries_over ON deliveries (finished_at) WHERE finished_at IS NOT NULL;

-- `token` is a hash of what stands in the URL, `secret` is sealed and what the upstream signs with.
CREATE TABLE hooks (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL REFERENCES orgs (id),
    mode TEXT NOT NULL,
    integration TEXT NOT NULL,
    connection TEXT,
    "user" TEXT,
    token BLOB NOT NULL UNIQUE,
    secret BLOB,
    actor TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX hooks_of_org ON hooks (org, created_at);

-- What came through a hook within the last day, by its id and by a digest: it counts once.
CREATE TABLE hook_messages (
    hook TEXT NOT NULL,
    name TEXT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (hook, name)
);

CREATE INDEX hook_messages_over ON hook_messages (until);
