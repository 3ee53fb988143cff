"""What a clean-up frees and what it asks of the store: a file of 1000 versions beside 2000 small files, under each
policy.

The volume is made once, in a directory; the store's clock is the files' times, so that it can be made to look old.
Requests are counted above the store. "Cold" reads every file of the newest tree from nothing, as a new machine with
an empty disk does.
"""

import os
import random
import shutil
from pathlib import Path

from agentfs import Home
from agentfs.clock import SystemClock
from agentfs.config.settings import load
from agentfs.format.layout import volume_prefix
from agentfs.format.snapshot import inode_record
from agentfs.log.contents import Contents
from agentfs.log.log import Log
from agentfs.model.retention import parse_policy
from agentfs.retention.collector import Collector
from agentfs.retention.report import CollectionReport
from agentfs.stores.counted import CountedStore
from agentfs.stores.open import open_store
from agentfs.stores.protocol import Store
from bench.figures import Finding

_AGENT = "bench"
_DAYS = 40
_DAY_S = 86_400
_VOLUME = f"home-{_AGENT}"
_POLICIES = ("30d", "30d 10 versions", "10 versions")


def retention(work: Path, *, quick: bool) -> list[Finding]:
    """Objects and bytes before and after, and requests, for each policy."""
    versions, files = (200, 400) if quick else (1000, 2000)
    work.mkdir(parents=True)
    made = _made(work, versions, files)
    findings = _sizes("before", made, f"{versions} versions of a file, {files} small files; all of it 40 days old")
    findings += _cold("before", made)
    for policy in _POLICIES:
        place = work / policy.replace(" ", "-")
        shutil.copytree(made, place)
        report = _clean(open_store(f"file://{place}"), policy)
        note = (
            f"{report.commits} commits, {report.snapshots} snapshots, {report.packed} contents into packs, "
            f"{report.versions} old versions kept"
        )
        findings.append(Finding(f"clean-up, {policy}", "requests", report.requests, note=note))
        findings += _sizes(policy, place, "")
        findings += _cold(policy, place)
        again = _clean(open_store(f"file://{place}"), policy)
        findings.append(Finding(f"clean-up, {policy}, when nothing is left to do", "requests", again.requests))
        shutil.rmtree(place)
    return findings


def _made(work: Path, versions: int, files: int) -> Path:
    place = work / "store"
    settings = load({"store": f"file://{place}", "state_dir": str(work / "state")}, environment={})
    chance = random.Random(1)
    with Home.open(_AGENT, settings=settings) as home:
        for number in range(versions):
            home.write("notes.md", f"version {number}\n".encode() + chance.randbytes(10_000))
            if number < files:
                for more in range(number, files, versions):
                    home.write(f"d/{more % 50}/{more}.md", chance.randbytes(1000))
            home.sync()
    for path in place.rglob("*"):
        if path.is_file():
            then = path.stat().st_mtime - _DAYS * _DAY_S
            os.utime(path, (then, then))
    return place


def _clean(store: Store, policy: str) -> CollectionReport:
    collector = Collector(
        store, _VOLUME, clock=SystemClock(), entropy=os.urandom, author=_AGENT, policy=parse_policy(policy)
    )
    for _ in collector.run():
        pass
    return collector.report


def _sizes(when: str, place: Path, note: str) -> list[Finding]:
    volume = place / volume_prefix("home", _AGENT)
    sizes = [path.stat().st_size for path in volume.rglob("*") if path.is_file()]
    return [
        Finding(f"stored, {when}", "objects", len(sizes), note=note),
        Finding(f"stored, {when}", "KiB", round(sum(sizes) / 1024)),
    ]


def _cold(when: str, place: Path) -> list[Finding]:
    """Requests until the tree is known, and until all of it is read."""
    store = CountedStore(open_store(f"file://{place}"))
    log = Log(store, "home", _AGENT)
    snapshot = log.newest_snapshot().snapshot
    assert snapshot is not None
    log.entry(snapshot.sequence + 1)
    tree = store.counts.requests
    contents = Contents(store, log)
    for row in snapshot.inodes:
        content = inode_record(row).content
        if content is not None:
            contents.read(content)
    return [
        Finding(f"cold, {when}: until the tree is known", "requests", tree),
        Finding(f"cold, {when}: until every file was read", "requests", store.counts.requests),
    ]
