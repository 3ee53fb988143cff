-- What this machine knows of the use of its stores (docs/usage.md). One file for a state directory; every process of
-- this machine adds to it.

CREATE TABLE state (                    -- facts about this file
    key   TEXT PRIMARY KEY,             -- schema_version
    value ANY
) STRICT, WITHOUT ROWID;

CREATE TABLE store (                    -- the stores that were asked
    id       INTEGER PRIMARY KEY,
    url      TEXT NOT NULL UNIQUE,      -- as it is shown: without secrets
    endpoint TEXT NOT NULL              -- where requests went last, when the URL alone does not say it; mostly empty
) STRICT;

CREATE TABLE request (                  -- what was asked, summed up
    day            INTEGER NOT NULL,    -- days since 1970-01-01, UTC
    store          INTEGER NOT NULL,
    volume         TEXT NOT NULL,       -- home-<id> or space-<name>; empty: the store itself
    purpose        TEXT NOT NULL,       -- usage.purposes.PURPOSES
    kind           TEXT NOT NULL,       -- stores.metering.RequestKind
    requests       INTEGER NOT NULL,
    sent_bytes     INTEGER NOT NULL,    -- of objects, without headers
    received_bytes INTEGER NOT NULL,
    PRIMARY KEY (day, store, volume, purpose, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE stored (                   -- what a volume had in its store, as seen last on a day
    day        INTEGER NOT NULL,
    store      INTEGER NOT NULL,
    volume     TEXT NOT NULL,
    part       TEXT NOT NULL,           -- live, history, view
    size_bytes INTEGER NOT NULL,
    objects    INTEGER NOT NULL,        -- live: files; else objects
    seen_ns    INTEGER NOT NULL,        -- by this machine's clock
    PRIMARY KEY (day, store, volume, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE warned (                   -- budgets that were said to be near or over: once in their period
    store   INTEGER NOT NULL,
    volume  TEXT NOT NULL,
    budget  TEXT NOT NULL,              -- month or requests_per_day
    period  TEXT NOT NULL,              -- 2026-11 or 2026-11-21
    level   TEXT NOT NULL,              -- near or over
    seen_ns INTEGER NOT NULL,
    PRIMARY KEY (store, volume, budget, period, level)
) STRICT, WITHOUT ROWID;
