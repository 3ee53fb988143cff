-- The replica's database. This file is the document: every column says what it means.
--
-- Two states live side by side: what this machine shows (`ino`, the inode's columns) and what the log holds at
-- `head_sequence` (`base` of a dentry, `content` of an inode). What differs is pending. A commit is the
-- difference; a pull moves the base and keeps the difference on top. Times are nanoseconds since 1970.

CREATE TABLE state (                    -- single facts
    key   TEXT PRIMARY KEY,             -- schema_version, volume_kind, volume_id, replica_id, head_sequence, head_digest, …
    value ANY
) STRICT, WITHOUT ROWID;

CREATE TABLE inode (
    ino           INTEGER PRIMARY KEY AUTOINCREMENT, -- this machine's number, given to the kernel; never reused
                                        -- (processes reserve blocks of numbers in sqlite_sequence)
    id            INTEGER,              -- number in the log (model.records.InodeId); NULL: not (or no longer) in the log
    kind          INTEGER NOT NULL,     -- model.records.Kind
    mode          INTEGER NOT NULL,     -- permission bits, 07777
    uid           INTEGER NOT NULL,
    gid           INTEGER NOT NULL,
    rdev          INTEGER NOT NULL DEFAULT 0,
    nlink         INTEGER NOT NULL,     -- dentries that show it here (a directory: 2 + its directories); 0: unlinked, kept
                                        -- while open somewhere or while a `base` still names it
    size_bytes    INTEGER NOT NULL DEFAULT 0, -- as of the last flush; while open for writing the backing file knows better
    atime_ns      INTEGER NOT NULL,
    mtime_ns      INTEGER NOT NULL,
    ctime_ns      INTEGER NOT NULL,
    birth_ns      INTEGER NOT NULL,
    target        BLOB,                 -- a symbolic link's target
    change        INTEGER NOT NULL DEFAULT 1, -- grows with every change of content or attributes, local or pulled
    content_change INTEGER NOT NULL DEFAULT 1, -- grows with every change of content: what kernel caches depend on
    residency     INTEGER NOT NULL DEFAULT 0, -- files: 0 the bytes are only in the store, 1 the backing file holds them,
                                        -- 2 it should, but must be checked against `content` first (after a power cut)
    used_at_ns    INTEGER NOT NULL DEFAULT 0, -- last open, roughly: what eviction goes by
    local         INTEGER NOT NULL DEFAULT 0, -- 1: ignored, never leaves this machine; so is all below a local directory
    pending       INTEGER NOT NULL DEFAULT 0, -- bits: 1 attributes (with xattrs), 2 content differ from the log
    pending_at_ns INTEGER NOT NULL DEFAULT 0  -- when `pending` last became non-zero
) STRICT;
CREATE UNIQUE INDEX inode_id ON inode(id) WHERE id IS NOT NULL;
CREATE INDEX inode_pending ON inode(ino) WHERE pending != 0;
CREATE INDEX inode_unlinked ON inode(ino) WHERE nlink = 0;

CREATE TABLE content (                  -- a file's content as the log has it at head: the base of local changes
    ino        INTEGER PRIMARY KEY,
    digest     BLOB NOT NULL,           -- SHA-256 of the bytes
    size_bytes INTEGER NOT NULL,
    sequence   INTEGER,                 -- inline: the commit that carries the bytes …
    offset     INTEGER,                 -- … and where they start in that object
    chunks     BLOB                     -- chunked: the chunks' SHA-256 digests, 32 bytes each, in order
) STRICT;

CREATE TABLE dentry (
    parent        INTEGER NOT NULL,     -- ino of the directory
    name          BLOB NOT NULL,
    ino           INTEGER,              -- what the name means here; NULL: nothing (unlinked here, still in the log)
    base          INTEGER,              -- what the log has at this name, as an ino of this machine; NULL: nothing
    pending       INTEGER NOT NULL DEFAULT 0, -- 1: ino and base differ and the difference is to be committed; 2: so it is, and
                                        -- the name was taken away because the file's time was over
    pending_at_ns INTEGER NOT NULL DEFAULT 0,
    local         INTEGER NOT NULL DEFAULT 0, -- 1: the name is ignored, or the directory is local
    PRIMARY KEY (parent, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX dentry_ino ON dentry(ino) WHERE ino IS NOT NULL;
CREATE INDEX dentry_base ON dentry(base) WHERE base IS NOT NULL AND base IS NOT ino;
CREATE INDEX dentry_pending ON dentry(parent, name) WHERE pending != 0;

CREATE TABLE xattr (
    ino   INTEGER NOT NULL,
    name  BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (ino, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE session (                  -- a process that has this replica open
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    pid         INTEGER NOT NULL,
    started     TEXT NOT NULL,          -- boot id and start time of the process: tells a reused pid
    kind        TEXT NOT NULL,          -- mount, engine, sdk, cli, fsck
    mountpoint  BLOB,                   -- where a mount is
    opened_at_ns INTEGER NOT NULL
) STRICT;

CREATE TABLE write_open (               -- maybe dirty: a session may be writing the backing file right now
    ino     INTEGER NOT NULL,
    session INTEGER NOT NULL,
    PRIMARY KEY (ino, session)
) STRICT, WITHOUT ROWID;

CREATE TABLE detached (                 -- the log's version took the name while this inode was open for writing here;
    ino    INTEGER PRIMARY KEY,         -- if it changes (or had changed) it comes back as a conflict copy
    parent INTEGER NOT NULL,            -- where it stood
    name   BLOB NOT NULL,
    digest BLOB,                        -- SHA-256 of the content it was opened with; NULL: it was already changed
    at_ns  INTEGER NOT NULL
) STRICT;

CREATE TABLE fork (                     -- the log brought another version of a file that was changed or open for writing here:
                                        -- `content` is the log's, the backing file is ours; the engine merges the two
    ino        INTEGER PRIMARY KEY,
    digest     BLOB,                    -- of the content that ours came from; NULL: none, both made the file
    size_bytes INTEGER,
    sequence   INTEGER,                 -- where that content is, as in `content`; neither a sequence nor
    offset     INTEGER,                 -- chunks: a file of this machine (BackingFiles.base_path)
    chunks     BLOB,
    met        INTEGER NOT NULL,        -- the commit that brought the log's version
    at_ns      INTEGER NOT NULL
) STRICT;
CREATE TABLE left_with (                -- files that were moved away here, and changed in the log since: the content that they
                                        -- left their name with, for the file that takes it (replica.succession)
    ino        INTEGER PRIMARY KEY,
    digest     BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    sequence   INTEGER,
    offset     INTEGER,
    chunks     BLOB,
    met        INTEGER NOT NULL         -- the commit that changed it
) STRICT;
CREATE TABLE past (                     -- versions of files that the log or a merge replaced here a while ago: what a program
                                        -- writes that read one of them comes from it (replica.past)
    ino        INTEGER NOT NULL,
    content_change INTEGER NOT NULL,    -- the inode's counter while the file held this version
    digest     BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    sequence   INTEGER,                 -- where it is, as in `fork`
    offset     INTEGER,
    chunks     BLOB,
    in_log     INTEGER NOT NULL,        -- 1: what the log has came from it; 0: it was merged, and that is not committed yet
    base_digest BLOB,                   -- the version of the log that it came from itself, for as long; NULL: none
    base_size_bytes INTEGER,
    base_sequence INTEGER,
    base_offset INTEGER,
    base_chunks BLOB,
    at_ns      INTEGER NOT NULL,        -- when it was replaced
    PRIMARY KEY (ino, content_change)
) STRICT, WITHOUT ROWID;
-- Whoever stops writing a forked file lets the engine know.
CREATE TRIGGER fork_closed AFTER DELETE ON write_open WHEN EXISTS (SELECT 1 FROM fork WHERE ino=old.ino)
BEGIN INSERT INTO journal(session,kind,ino,at_ns) VALUES(old.session, 4, old.ino, 0); END;

CREATE TABLE journal (                  -- every change of what this machine shows, in order; trimmed behind its readers
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,           -- who made it; 0: the log (pulled)
    kind    INTEGER NOT NULL,           -- replica.journal.ChangeKind
    ino     INTEGER NOT NULL,           -- what changed
    parent  INTEGER,                    -- links and unlinks: the directory …
    name    BLOB,                       -- … and the name
    at_ns   INTEGER NOT NULL
) STRICT;

CREATE TABLE prepared (                 -- commits that may have reached the store; whichever of these is found there is ours
    digest   BLOB PRIMARY KEY,
    sequence INTEGER NOT NULL,
    capture  BLOB NOT NULL,             -- msgpack: what it contains, to settle it (sync.capture)
    at_ns    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE conflict (                 -- what met and could not both keep its place, for people
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL,             -- model.records.Conflict.kind
    parent   INTEGER NOT NULL,
    name     BLOB NOT NULL,
    kept_as  BLOB NOT NULL,             -- name of the copy in the same directory; empty: nothing was kept aside
    detail   TEXT NOT NULL,
    sequence INTEGER,                   -- the commit that settled it; NULL: still pending here
    at_ns    INTEGER NOT NULL,
    sides    BLOB                       -- msgpack: the contents that were merged (replica.forks); NULL: none, or in the log
) STRICT;

CREATE TABLE lock (                     -- the log's locks at head (docs/format.md, F-90 ff.): the same on every machine
    id      INTEGER PRIMARY KEY,        -- inode in the log
    holder  TEXT NOT NULL,              -- who, for people
    token   INTEGER NOT NULL,           -- sequence of the commit that took or used it last
    seconds INTEGER NOT NULL            -- how long without a use before others may take it over
) STRICT;

CREATE TABLE lease (                    -- locks that this machine took; one is ours while its token is the lock's
    id      INTEGER PRIMARY KEY,        -- inode in the log
    ino     INTEGER NOT NULL,           -- the file here that it was taken for
    token   INTEGER NOT NULL,           -- of our last commit that took or used it
    epoch   INTEGER NOT NULL,           -- of the commit that took it
    mtime_ns INTEGER NOT NULL,          -- the file's times as the log has them
    ctime_ns INTEGER NOT NULL
) STRICT;

CREATE TABLE lock_use (                 -- who on this machine uses a lease, or waits for one; a lease without is given back
    ino     INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    number  INTEGER NOT NULL,           -- told apart by the session
    seconds INTEGER NOT NULL            -- the lock is asked for with these
) STRICT;

CREATE TABLE lost_lease (               -- leases that another machine ended while they were used here, until their user knows
    ino     INTEGER NOT NULL,
    epoch   INTEGER NOT NULL,
    at_ns   INTEGER NOT NULL,
    PRIMARY KEY (ino, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE lock_breach (              -- commits of faulty writers: what they changed without the right to (F-96)
    sequence INTEGER NOT NULL,
    id       INTEGER NOT NULL,          -- inode in the log
    reason   TEXT NOT NULL,
    PRIMARY KEY (sequence, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE resolution (               -- conflicts that were resolved here and that no commit has reported as such yet
    sequence INTEGER NOT NULL,          -- the commit that reported the conflict …
    place    INTEGER NOT NULL,          -- … and its place there
    at_ns    INTEGER NOT NULL,
    PRIMARY KEY (sequence, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE live_database (            -- SQLite databases open on a mount: what was last captured of them
    ino      INTEGER PRIMARY KEY,
    stamp    TEXT NOT NULL,             -- sizes and times of the file and its -wal at that moment
    at_ns    INTEGER NOT NULL
) STRICT;

CREATE TABLE changed_field (            -- attributes that this machine changed and the log has not yet: a pulled record keeps
    ino   INTEGER NOT NULL,             -- these and replaces the others
    field BLOB NOT NULL,                -- mode, owner, or x: and the name of an extended attribute
    PRIMARY KEY (ino, field)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER mode_changed AFTER UPDATE OF mode ON inode WHEN old.id IS NOT NULL AND old.mode IS NOT new.mode
BEGIN INSERT OR IGNORE INTO changed_field VALUES(new.ino, x'6D6F6465'); END;
CREATE TRIGGER owner_changed AFTER UPDATE OF uid, gid ON inode
WHEN old.id IS NOT NULL AND (old.uid IS NOT new.uid OR old.gid IS NOT new.gid)
BEGIN INSERT OR IGNORE INTO changed_field VALUES(new.ino, x'6F776E6572'); END;
CREATE TRIGGER xattr_set AFTER INSERT ON xattr
BEGIN INSERT OR IGNORE INTO changed_field SELECT ino, CAST('x:' || new.name AS BLOB) FROM inode WHERE ino=new.ino AND id IS NOT NULL; END;
CREATE TRIGGER xattr_removed AFTER DELETE ON xattr
BEGIN INSERT OR IGNORE INTO changed_field SELECT ino, CAST('x:' || old.name AS BLOB) FROM inode WHERE ino=old.ino AND id IS NOT NULL; END;
