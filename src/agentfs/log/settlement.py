"""Who holds a place in the log? Pure decisions, shared by the real log (`log.log`), the engine, and the model that
proves the protocol (`tests/model/test_log_protocol.py`).

The rules (docs/format.md, F-42 ff.):

- A commit is its bytes: its digest is its identity. Its random id makes two writers' bytes differ; equal bytes (a
  cloned machine puts what its twin prepared) are one commit, and both have committed it.
- A writer persists (digest, sequence, what is captured) *before* the first put. Several rows may exist for one
  sequence, after a crash or a doubt. Rows are dropped only when an entry has been seen at their sequence:
  the one whose digest stands there is committed, the others can never be.
- A create-only put that is refused, or whose answer is lost, decides nothing: the entry that stands there does.
- A place that was taken is taken for ever: collection leaves a stub that still tells the commit's digest.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

PUTS_MAX = 3
"""Tries of one append. Each is followed by a read, so a try is two round trips; then the engine takes over, which
knows how to wait."""


class PutReply(enum.Enum):
    """What a create-only put answered."""

    DONE = "done"
    EXISTS = "exists"
    UNKNOWN = "unknown"


class Next(enum.Enum):
    """What an append does next."""

    PUT = "put"
    READ = "read"


class Verdict(enum.Enum):
    """How an append ended."""

    OURS = "ours"
    THEIRS = "theirs"
    IN_DOUBT = "in doubt"
    """Nothing stands there, and a put of ours may still land. The prepared row is kept."""


@dataclass(frozen=True, slots=True)
class Append:
    """The state of one append: what to do next, and how many puts are left."""

    digest: bytes
    puts_left: int = PUTS_MAX
    next: Next = Next.PUT


def after_put(append: Append, reply: PutReply) -> Append | Verdict:
    """The state after the put that `append` asked for."""
    assert append.next is Next.PUT and append.puts_left > 0
    if reply is PutReply.DONE:
        return Verdict.OURS
    return replace(append, puts_left=append.puts_left - 1, next=Next.READ)


def after_read(append: Append, standing: bytes | None) -> Append | Verdict:
    """The state after the read that `append` asked for. `standing` is the digest of the commit that stands, or
    stood before it was collected, at the place; `None` if nothing ever did."""
    assert append.next is Next.READ
    if standing is None:
        return replace(append, next=Next.PUT) if append.puts_left else Verdict.IN_DOUBT
    return Verdict.OURS if standing == append.digest else Verdict.THEIRS


@dataclass(frozen=True, slots=True)
class Settled:
    """What seeing the entry at a sequence says about the rows prepared for it."""

    committed: bytes | None
    """The row that stands in the log: its captured changes are committed, once."""
    void: tuple[bytes, ...]
    """The other rows of that sequence: they can never be committed, their changes are still pending."""


def settle(prepared: Mapping[bytes, int], sequence: int, standing: bytes) -> Settled:
    """Decide about `prepared` (digest → sequence) once the commit `standing` is known at `sequence`.

    A row of another sequence is left alone, whatever its digest.
    """
    rows = sorted(digest for digest, at in prepared.items() if at == sequence)
    return Settled(
        committed=standing if standing in rows else None,
        void=tuple(digest for digest in rows if digest != standing),
    )


def unsettled(prepared: Mapping[bytes, int], sequence: int) -> tuple[int, ...]:
    """The places up to `sequence` that must be read before a replica may take a snapshot at `sequence` for its
    own: rows were prepared for them, and the snapshot alone does not tell what became of them."""
    return tuple(sorted({at for at in prepared.values() if at <= sequence}))
