-- The index of the log's history. Everything here is derived from the log's entries and can be dropped at any time.
-- Numbers of inodes are the log's (model.records.InodeId). Times are nanoseconds since 1970.

CREATE TABLE state (                    -- single facts
    key   TEXT PRIMARY KEY,             -- schema_version
    value ANY
) STRICT, WITHOUT ROWID;

CREATE TABLE author (                   -- who wrote commits
    id      INTEGER PRIMARY KEY,
    author  TEXT NOT NULL,              -- Commit.author
    replica TEXT NOT NULL,              -- Commit.replica
    UNIQUE (author, replica)
) STRICT;

CREATE TABLE entry (                    -- the log's entries up to the last one that is indexed, without holes but for what
    sequence INTEGER PRIMARY KEY,       -- was collected
    digest   BLOB NOT NULL,             -- of the entry: the next one's parent
    time_ns  INTEGER NOT NULL,          -- hybrid-logical time of the commit
    author   INTEGER NOT NULL,          -- in `author`
    collected INTEGER NOT NULL DEFAULT 0, -- not 0: no commit but the tree of a snapshot; the commits from this sequence on
                                        -- up to this one were collected
    cause    TEXT NOT NULL DEFAULT ''   -- Commit.cause
) STRICT;

CREATE TABLE name (                     -- what a name meant, and from when until when
    id     INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,            -- inode of the directory
    name   BLOB NOT NULL,
    inode  INTEGER NOT NULL,            -- what it meant …
    since  INTEGER NOT NULL,            -- … right after this entry …
    until  INTEGER                      -- … up to, and not including, this one; NULL: it does
) STRICT;
CREATE UNIQUE INDEX name_place ON name(parent, name, since);
CREATE INDEX name_inode ON name(inode, since);
CREATE INDEX name_since ON name(since);
CREATE INDEX name_until ON name(until) WHERE until IS NOT NULL;

CREATE TABLE record (                   -- the whole states of inodes, as commits gave them
    inode      INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,        -- the entry that gave it
    kind       INTEGER NOT NULL,        -- model.records.Kind
    mode       INTEGER NOT NULL,        -- permission bits
    uid        INTEGER NOT NULL,
    gid        INTEGER NOT NULL,
    mtime_ns   INTEGER NOT NULL,
    ctime_ns   INTEGER NOT NULL,
    birth_ns   INTEGER NOT NULL,
    rdev       INTEGER NOT NULL,
    target     BLOB,                    -- of a symbolic link
    digest     BLOB,                    -- SHA-256 of a file's bytes; NULL for what is no file
    size_bytes INTEGER NOT NULL,        -- of a file
    at_sequence INTEGER,                -- inline: the commit that carries the bytes …
    at_offset  INTEGER,                 -- … and where they start in that object
    chunks     BLOB,                    -- chunked: the chunks' digests, joined
    PRIMARY KEY (inode, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_sequence ON record(sequence);

CREATE TABLE xattr (                    -- extended attributes of `record`
    inode    INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    name     BLOB NOT NULL,
    value    BLOB NOT NULL,
    PRIMARY KEY (inode, sequence, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE kept (                     -- what packs keep of the history of files whose commits were collected (F-127)
    parent    INTEGER NOT NULL,         -- the name that the file had where the log begins again …
    name      BLOB NOT NULL,
    sequence  INTEGER NOT NULL,         -- … the commit that gave it this state …
    inode     INTEGER NOT NULL,         -- … which inode it was then …
    time_ns   INTEGER NOT NULL,         -- … of the commit …
    author    TEXT NOT NULL,
    at_parent INTEGER NOT NULL,         -- … and where it was
    at_name   BLOB NOT NULL,
    mode      INTEGER NOT NULL,
    mtime_ns  INTEGER NOT NULL,
    digest    BLOB NOT NULL,            -- as in `record`
    size_bytes INTEGER NOT NULL,
    at_sequence INTEGER,
    at_offset INTEGER,
    chunks    BLOB,
    PRIMARY KEY (parent, name, sequence, inode)
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_inode ON kept(inode, sequence);

CREATE TABLE conflict (                 -- what met and could not both keep its place (Commit.conflicts)
    sequence INTEGER NOT NULL,          -- the commit that settled it …
    place    INTEGER NOT NULL,          -- … and its place there: together the conflict's id
    kind     TEXT NOT NULL,
    parent   INTEGER NOT NULL,
    name     BLOB NOT NULL,
    kept_as  BLOB NOT NULL,             -- name of the copy in the same directory; empty: none
    detail   TEXT NOT NULL,             -- one line for people
    met      INTEGER NOT NULL,          -- the commit that came first; 0: not known
    resolved INTEGER,                   -- the commit that says it is resolved; NULL: it is open
    time_ns  INTEGER,                   -- of a commit that was collected; NULL: `entry` tells
    author   TEXT,                      -- likewise
    PRIMARY KEY (sequence, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX conflict_place ON conflict(parent, name);
CREATE INDEX conflict_open ON conflict(sequence, place) WHERE resolved IS NULL;

CREATE TABLE imported (                 -- objects of the view that a commit took in (Commit.imported)
    name     TEXT NOT NULL,             -- below the view's prefix
    digest   BLOB NOT NULL,             -- SHA-256 of the object's bytes
    modified_s INTEGER NOT NULL,        -- when it was written, by the store's clock
    sequence INTEGER NOT NULL,          -- the commit
    PRIMARY KEY (name, digest, modified_s, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE side (                     -- the contents that met (Commit.sides)
    sequence   INTEGER NOT NULL,        -- the conflict's id
    place      INTEGER NOT NULL,
    side       TEXT NOT NULL,           -- base, earlier, later
    digest     BLOB NOT NULL,           -- as in `record`
    size_bytes INTEGER NOT NULL,
    at_sequence INTEGER,
    at_offset  INTEGER,
    chunks     BLOB,
    PRIMARY KEY (sequence, place, side)
) STRICT, WITHOUT ROWID;
