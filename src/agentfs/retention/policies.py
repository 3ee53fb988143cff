"""Which policy counts for a volume: the one on its store, which every machine sees.

A machine's setting is a wish. It becomes the volume's policy when there is none yet; and one that keeps more than the
volume's widens it. To keep less than the volume does takes a command of its own: a machine that came late, with an
old configuration, must not make the others' history go.
"""

from agentfs.clock import Clock
from agentfs.errors import Unavailable
from agentfs.format.collection import PolicyRecord
from agentfs.log.announcements import Announcements
from agentfs.model.retention import KEEP_ALL, Policy, parse_policy

_TRIES_MAX = 5


def policy_of(announcements: Announcements) -> tuple[Policy, PolicyRecord | None]:
    """What the volume keeps, and the record that says so. One list, and one get if there is any. Raises `Corrupt`,
    `NewerFormat`, `StoreError`: then nothing may be collected."""
    record = announcements.policy()
    return (KEEP_ALL if record is None else parse_policy(record.policy)), record


def set_policy(announcements: Announcements, policy: Policy, *, author: str, clock: Clock) -> PolicyRecord:
    """Make `policy` the one that counts. On return every machine sees it. Raises `Unavailable` when others keep
    setting it at the same time, `StoreError`."""
    for _ in range(_TRIES_MAX):
        _, newest = policy_of(announcements)
        if newest is not None and newest.policy == policy.text:
            return newest
        number = newest.number + 1 if newest is not None else 1
        record = PolicyRecord(announcements.volume, number, policy.text, author, clock.wall_ns())
        if announcements.put_policy(record):
            return record
    raise Unavailable("the retention policy is being set by others at the same time: try again")


def agreed_policy(announcements: Announcements, wish: Policy | None, *, author: str, clock: Clock) -> Policy:
    """The policy to collect by, given what this machine's settings wish (None: nothing). Raises as `set_policy`."""
    policy, record = policy_of(announcements)
    if wish is None:
        return policy
    wanted = wish if record is None else policy | wish
    if record is None and wish.everything:
        return KEEP_ALL
    if wanted != policy:
        set_policy(announcements, wanted, author=author, clock=clock)
    return wanted
