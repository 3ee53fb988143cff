-- What is known of a volume's view on the store. Everything here is derived and can be dropped at any time: what is
-- missing is seen again on the store. Numbers of files are the log's (model.records.InodeId).

CREATE TABLE state (                    -- single facts
    key   TEXT PRIMARY KEY,             -- schema_version, mark, keeper, …
    value ANY
) STRICT, WITHOUT ROWID;

CREATE TABLE object (                   -- objects of the view, as they were last put or seen
    name       TEXT PRIMARY KEY,        -- below the view's prefix
    file       INTEGER NOT NULL,        -- whose version it shows; 0: none that is known
    sequence   INTEGER NOT NULL,        -- the commit that brought that version; 0: not known
    digest     BLOB NOT NULL,           -- SHA-256 of the file's bytes, without the block; empty: not known
    etag       TEXT NOT NULL,           -- empty: the store has none
    size_bytes INTEGER NOT NULL,        -- of the object
    version    INTEGER,                 -- the number that the object says
    modified_at REAL NOT NULL           -- when it was written, by the store's clock, in seconds since 1970; 0: not known
) STRICT, WITHOUT ROWID;
CREATE INDEX object_file ON object(file);

CREATE TABLE held (                     -- names that others changed: left alone until that has been taken in
    name   TEXT PRIMARY KEY,            -- below the view's prefix
    reason TEXT NOT NULL                -- for people
) STRICT, WITHOUT ROWID;

CREATE TABLE fact (                     -- the content that a file of the log has, as the commit that brought it says
    file        INTEGER PRIMARY KEY,
    digest      BLOB NOT NULL,          -- SHA-256 of the bytes
    sequence    INTEGER NOT NULL,       -- that commit
    author      TEXT NOT NULL,          -- of the commit; empty: not known
    modified_ns INTEGER                 -- the file's time of modification then; NULL: not known
) STRICT;

CREATE TABLE begun (                    -- objects whose put may have reached the store: what is found there and has this
    name       TEXT NOT NULL,           -- digest is ours
    object     BLOB NOT NULL,           -- SHA-256 of the object's bytes
    file       INTEGER NOT NULL,        -- as in `object`
    sequence   INTEGER NOT NULL,
    digest     BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    version    INTEGER,
    PRIMARY KEY (name, object)
) STRICT, WITHOUT ROWID;
