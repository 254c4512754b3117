-- People who sign in for an org. Cookies, links and codes are kept as hashes: a copy of the database opens nothing.

-- `email` is in lower case and known to be theirs: the operator or their OpenID provider said so.
CREATE TABLE members (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL REFERENCES orgs (id),
    email TEXT UNIQUE,
    name TEXT,
    issuer TEXT,
    subject TEXT,
    created_at BIGINT NOT NULL,
    signed_in_at BIGINT,
    UNIQUE (issuer, subject)
);

CREATE INDEX members_of_org ON members (org, created_at);

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    org TEXT NOT NULL REFERENCES orgs (id),
    member TEXT NOT NULL REFERENCES members (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX sessions_of_member ON sessions (member);

-- One a member: a new link replaces the one before. The row goes when the link is used.
CREATE TABLE sign_in_links (
    member TEXT NOT NULL PRIMARY KEY REFERENCES members (id) ON DELETE CASCADE,
    org TEXT NOT NULL REFERENCES orgs (id),
    hash BLOB NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- On the way to the OpenID provider and back. `identity` is set, as JSON, for somebody whom no org knows yet.
CREATE TABLE sign_in_flows (
    id TEXT NOT NULL PRIMARY KEY,
    state BLOB NOT NULL UNIQUE,
    browser BLOB NOT NULL,
    next TEXT NOT NULL,
    identity TEXT,
    expires_at BIGINT NOT NULL
);

-- RFC 8628. `user_code` is hashed under a key that is not in the database: it is too short to be safe without.
-- `approver` and `level` are set once somebody agreed; `pace` is the seconds between polls, `next_poll_at` the earliest.
CREATE TABLE device_flows (
    id TEXT NOT NULL PRIMARY KEY,
    device_code BLOB NOT NULL UNIQUE,
    user_code BLOB NOT NULL UNIQUE,
    device TEXT NOT NULL,
    address TEXT,
    status TEXT NOT NULL,
    org TEXT,
    approver TEXT,
    level TEXT,
    pace BIGINT NOT NULL,
    hurried BIGINT NOT NULL,
    next_poll_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX device_flows_by_expiry ON device_flows (expires_at);

-- Counted attempts at what could be guessed, or be had too often.
CREATE TABLE tries (
    name TEXT NOT NULL PRIMARY KEY,
    taken BIGINT NOT NULL,
    until BIGINT NOT NULL
);
