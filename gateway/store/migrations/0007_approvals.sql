-- Runs that wait for a person: listed for the members of an org, and ended where nobody decides in time.
CREATE INDEX runs_awaiting ON runs (org, started_at) WHERE state = 'awaiting_approval';
