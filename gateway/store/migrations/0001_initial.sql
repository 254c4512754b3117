-- The first schema. One text for both databases: BLOB becomes BYTEA on PostgreSQL.
-- Times are unix milliseconds, truths are 0 and 1, lists and maps are JSON in a text.

CREATE TABLE installation (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE data_keys (
    id TEXT NOT NULL PRIMARY KEY,
    wrapped BLOB NOT NULL,
    is_primary BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT
);

CREATE TABLE orgs (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    plan TEXT,
    redirect_urls TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    suspended_at BIGINT
);

CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL REFERENCES orgs (id),
    name TEXT NOT NULL,
    mode TEXT NOT NULL,
    prefix TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    "grant" TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT,
    request_count BIGINT NOT NULL
);

CREATE INDEX api_keys_of_org ON api_keys (org, created_at);

-- `credential` is sealed; it also holds what the credential is for, so that no change of the other
-- columns can send it elsewhere.
CREATE TABLE connections (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL REFERENCES orgs (id),
    integration TEXT NOT NULL,
    "user" TEXT NOT NULL,
    method TEXT NOT NULL,
    state TEXT NOT NULL,
    version BIGINT NOT NULL,
    label TEXT,
    account TEXT,
    account_id TEXT,
    fields TEXT NOT NULL,
    scopes TEXT,
    reason TEXT,
    retry_at BIGINT,
    credential BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX connections_of_user ON connections (org, integration, "user", created_at);

-- `state` and `handle` are hashes of what the browser holds; `secrets` is sealed.
CREATE TABLE flows (
    connection TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL REFERENCES orgs (id),
    integration TEXT NOT NULL,
    "user" TEXT NOT NULL,
    method TEXT NOT NULL,
    scopes TEXT NOT NULL,
    label TEXT,
    redirect_url TEXT,
    fields TEXT NOT NULL,
    renews BIGINT NOT NULL,
    status TEXT NOT NULL,
    detail TEXT,
    error TEXT,
    message TEXT,
    account TEXT,
    state BLOB UNIQUE,
    handle BLOB UNIQUE,
    secrets BLOB,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX flows_by_expiry ON flows (expires_at);

-- `secrets` is sealed.
CREATE TABLE org_clients (
    org TEXT NOT NULL REFERENCES orgs (id),
    integration TEXT NOT NULL,
    client_id TEXT NOT NULL,
    secrets BLOB NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (org, integration)
);

CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    until BIGINT NOT NULL
);

-- No reference to orgs or connections: a run outlives them, and is written too often to be checked.
CREATE TABLE runs (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL,
    key TEXT NOT NULL,
    "user" TEXT NOT NULL,
    integration TEXT NOT NULL,
    action TEXT NOT NULL,
    effect TEXT NOT NULL,
    mode TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    connection TEXT,
    status BIGINT,
    error TEXT,
    outcome TEXT
);

CREATE INDEX runs_of_org ON runs (org, started_at, id);

CREATE INDEX runs_unfinished ON runs (started_at) WHERE finished_at IS NULL;
