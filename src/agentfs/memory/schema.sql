-- The index of search and recall. Everything here is derived from the files of the volume and can be dropped at any
-- time. Numbers of inodes are the replica's. Times are nanoseconds since 1970.

CREATE TABLE state (                    -- single facts
    key   TEXT PRIMARY KEY,             -- schema_version, counter, position, embedder, …
    value ANY
) STRICT, WITHOUT ROWID;

CREATE TABLE file (                     -- every file that was looked at, with text or without: what it was then
    ino    INTEGER PRIMARY KEY,
    change INTEGER NOT NULL,            -- the replica's inode.change
    stamp  TEXT NOT NULL                -- what the document was made of (memory.worker); equal: nothing of it changed
) STRICT;

CREATE TABLE document (                 -- a file that has text
    id         INTEGER PRIMARY KEY,
    ino        INTEGER NOT NULL UNIQUE,
    path       BLOB NOT NULL,           -- from the volume's root, without a slash before or behind
    version    BLOB NOT NULL,           -- SHA-256 of the bytes that were indexed
    mtime_ns   INTEGER NOT NULL,
    kind       TEXT NOT NULL,           -- Document.kind
    extracted  INTEGER NOT NULL,        -- Document.extracted
    title      TEXT NOT NULL,           -- this and the next: Facts
    importance REAL,
    expires_ns INTEGER,
    type       TEXT NOT NULL,
    created_ns INTEGER,
    pinned     INTEGER NOT NULL,
    superseded INTEGER NOT NULL
) STRICT;
CREATE INDEX document_path ON document(path);
CREATE INDEX document_expires ON document(expires_ns) WHERE expires_ns IS NOT NULL;

CREATE TABLE tag (                      -- Facts.tags
    document INTEGER NOT NULL,
    place    INTEGER NOT NULL,          -- in the document's list, from 0
    tag      TEXT NOT NULL,             -- as it was written
    folded   TEXT NOT NULL,             -- as it is compared: without regard to case
    PRIMARY KEY (document, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_folded ON tag(folded, document);

CREATE TABLE link (                     -- Facts.links
    document INTEGER NOT NULL,
    place    INTEGER NOT NULL,
    target   TEXT NOT NULL,
    PRIMARY KEY (document, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE passage (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: a reader that is late finds nothing, not another
    document   INTEGER NOT NULL,
    ordinal    INTEGER NOT NULL,        -- in the document, from 0
    first_line INTEGER NOT NULL,        -- this and the next: Passage
    last_line  INTEGER NOT NULL,
    start      INTEGER NOT NULL,
    end        INTEGER NOT NULL,
    text       TEXT NOT NULL,
    headings   TEXT NOT NULL,           -- joined by newlines
    author     TEXT NOT NULL,
    said_ns    INTEGER,
    tokens     INTEGER NOT NULL,        -- as the counter that `state` names counts them
    length     INTEGER NOT NULL,        -- terms, in all columns of `words`
    vectored   INTEGER NOT NULL         -- 1: `vector` has its row
) STRICT;
CREATE UNIQUE INDEX passage_place ON passage(document, ordinal);
CREATE INDEX passage_vectorless ON passage(id) WHERE vectored=0;

CREATE TABLE vector (
    passage INTEGER PRIMARY KEY,
    data    BLOB NOT NULL               -- as the embedder that `state` names made it: float16, little-endian, length 1
) STRICT;

CREATE VIRTUAL TABLE words USING fts5(  -- the terms of each passage (memory.words), by its id
    author, date, place, tags, text,
    content='', contentless_delete=1,
    tokenize="ascii tokenchars '.'"     -- terms hold no other ASCII than letters, digits and dots, and are folded
);
CREATE VIRTUAL TABLE word USING fts5vocab(words, row);        -- each term: in how many passages
CREATE VIRTUAL TABLE word_at USING fts5vocab(words, instance); -- … and where
