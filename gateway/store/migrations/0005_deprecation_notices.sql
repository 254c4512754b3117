-- Which org was told of which deprecated action; `since` is the day of its deprecation.

CREATE TABLE deprecation_notices (
    org TEXT NOT NULL REFERENCES orgs (id),
    integration TEXT NOT NULL,
    action TEXT NOT NULL,
    since TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (org, integration, action, since)
);
