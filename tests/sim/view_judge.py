"""What the view's objects must say when things are quiet: what the tree says, byte for byte, and nothing besides."""

from dataclasses import replace

from faults import VIEW
from logged import Logged
from record import VOLUME

from agentfs.log.log import Log
from agentfs.stores.memory import MemoryStore
from agentfs.view.mark import Mark
from agentfs.view.naming import object_name
from agentfs.view.rendering import rendered
from agentfs.view.restoring import restored
from agentfs.view.rules import Rules


def wrong(store: MemoryStore, mark: Mark, log: Logged, files: dict[bytes, bytes], left: set[str]) -> list[str]:
    """`files`: what every machine shows. `left`: names that the keeper says to leave alone."""
    rules = Rules(mark.rules)
    found: list[str] = []
    names = {it.name for it in store.list(VIEW, limit=100_000, foreign=True)}
    for path, data in files.items():
        policy = rules.policy(path)
        name = object_name("space", "sim", path)
        assert name is not None
        if policy == "none":
            continue
        if name not in names:
            found.append(f"{name} is missing")
            continue
        names.discard(name)
        found += _wrong(store, name, path, data, policy, log)
    found += [f"{name} is too much" for name in sorted(names) if name.removeprefix(VIEW) not in left]
    return found


def _wrong(store: MemoryStore, name: str, path: bytes, data: bytes, policy: str, log: Logged) -> list[str]:
    found = store.get(name)
    means = restored(path, found.data, found.attributes)
    was, inode = means.was, log.file_at(path)
    if means.data != data or means.edited or was is None:
        return [f"{name} is {found.data[-300:]!r} of {was}, not {data[-300:]!r}"]
    said = log.brought[was.file, was.digest]
    collected = was.author == "" or was.sequence not in said
    if collected and not _is_collected(store, was.sequence):
        return [f"{name} says to be of {was}; it is of {said}"]
    if was.file != inode or was.volume != VOLUME:
        return [f"{name} says to be of {was.file}, {was.sequence}; it is of {inode}, {said}"]
    made = rendered(path, data, was)
    made = replace(made, data=data) if policy == "plain" else made
    attributes = {**made.metadata, "content-type": made.content_type}
    if not found.attributes and made.fronted and policy == "block":
        attributes = {}  # another tool put the same again: the block says it all
    if made.data != found.data or attributes != dict(found.attributes):
        return [f"{name} is {found}, not {made}"]
    if not collected and was.author != log.authors[was.sequence]:
        return [f"{name} says that {was.author} wrote it, not {log.authors[was.sequence]}"]
    return []


def _is_collected(store: MemoryStore, sequence: int) -> bool:
    """Then nobody knows any more who brought a content."""
    entry = Log(store, "space", "sim").entry(sequence)
    return entry is not None and entry.stub is not None
