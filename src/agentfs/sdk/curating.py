"""Tidying up and moving: the part of `Home` that curates notes, exports them, and imports others."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from agentfs.errors import InvalidArgument, NotFound
from agentfs.format.layout import volume_name
from agentfs.model.names import shown
from agentfs.sdk.errors import speaks_python
from agentfs.sdk.past import Moments
from agentfs.sdk.paths import Path, parts
from agentfs.volume.spaces import DIRECTORY as SPACES
from agentfs.volume.volume import Volume

if TYPE_CHECKING:
    from agentfs.memory.curation import Curator, Plan, Policy
    from agentfs.memory.interchange import Format
    from agentfs.memory.notes import Note
    from agentfs.sdk.curation_steps import Done
    from agentfs.sdk.exporting import Exported, Told
    from agentfs.sdk.file_home import FileHome
    from agentfs.sdk.importing import Imported
    from agentfs.sdk.sources import Kind


class HomeCurating:
    """Notes are Markdown and other text for people, in the home itself: what is in an attached space is curated where
    the space is opened (`Home.open(space=…)`)."""

    _volume: Volume

    if TYPE_CHECKING:  # what a `Home` has besides

        def _bare(self) -> "FileHome": ...
        def _since_ns(self, since: Moments | None) -> int | None: ...

    @speaks_python
    def curate(self, path: Path = "", *, policy: "Policy | None" = None, curator: "Curator | None" = None) -> "Plan":
        """What could be tidied among the notes at or below `path`, as a plan; nothing is changed. `curator` adds what
        it proposes. Raises `NotFound`, and `InvalidArgument` for a proposal that cannot be carried out."""
        from agentfs.memory.curation import Policy, propose  # noqa: PLC0415 - numpy: only who curates waits for it

        now_ns = self._volume.clock.wall_ns()
        volume = volume_name(self._volume.kind, self._volume.volume_id)
        notes = list(self._notes(path))
        try:
            return propose(notes, policy or Policy(), now_ns=now_ns, volume=volume, curator=curator)
        except ValueError as error:
            raise InvalidArgument(str(error)) from None

    @speaks_python
    def apply_plan(self, plan: "Plan") -> Sequence["Done"]:
        """Carry out a plan, one action after the other, as ordinary changes: `sync` makes them durable, `restore`
        takes them back. A file that is not what the plan saw is left alone, and the answer says so. Raises
        `InvalidArgument` for the plan of another home, and `NoSpace`."""
        from agentfs.sdk.curation_steps import CurationSteps  # noqa: PLC0415 - as above

        volume = volume_name(self._volume.kind, self._volume.volume_id)
        if plan.volume != volume:
            raise InvalidArgument(f"the plan is for {plan.volume or 'no home'}, and this is {volume}")
        return CurationSteps(self._bare()).run(plan)

    @speaks_python
    def export_memories(
        self,
        to: str | os.PathLike[str] | IO[bytes],
        path: Path = "",
        *,
        format: "Format" = "passages",
        since: Moments | None = None,
        tags: Iterable[str] = (),
        told: "Told | None" = None,
    ) -> "Exported":
        """Write what is at or below `path` as JSON lines into a file of this machine, or into an open binary one.
        A file appears whole or not at all. Expired notes, and attached spaces unless `path` leads into one, are left
        out.

        `format`: `passages` with their metadata; `documents`, every file whole, which `import_memories` makes the
        same files of again; or `text`, only the text of each document. `since`: changed at this moment or later;
        `tags`: with all of these. `told` is called with the number of files that are left, and their bytes. Raises
        `NotFound`, `InvalidArgument`, `Unavailable`."""
        from agentfs.sdk.exporting import export  # noqa: PLC0415 - readers of documents: as above

        home = self._full() if parts(path)[:1] == (SPACES,) else self._bare()
        return export(home, to, path, format=format, since_ns=self._since_ns(since), tags=tuple(tags), told=told)

    @speaks_python
    def import_memories(
        self,
        source: str | os.PathLike[str] | IO[bytes],
        *,
        into: str | None = None,
        kind: "Kind | None" = None,
        attachments: bool | None = None,
        dry_run: bool = False,
        told: "Told | None" = None,
    ) -> "Imported":
        """Bring in a folder of Markdown, an Obsidian vault, a file of JSON lines, or what another tool exported: a
        path of this machine, or an open binary file, which is read to its end. Nothing is overwritten: an equal file
        is left as it is, another one gets a name beside it; so importing twice adds nothing. With `dry_run` only the
        plan.

        `into`: the directory that it goes to; `kind`: what the source is, where its content does not tell;
        `attachments`: also files of a folder that are no text (default: of a vault). Raises `InvalidArgument` for
        what cannot be read, before anything is written."""
        from agentfs.sdk.importing import import_all  # noqa: PLC0415 - as above
        from agentfs.sdk.sources import Named, read_to_end, source_of  # noqa: PLC0415

        with contextlib.ExitStack() as open_:
            if isinstance(source, str | os.PathLike):
                given = Named(os.fspath(source), os.fspath(source))
            else:
                given = open_.enter_context(read_to_end(source))
            found = source_of(given, kind=kind, attachments=attachments)
            return import_all(self._bare(), found, into=into, dry_run=dry_run, told=told)

    def _full(self) -> "FileHome":
        home: Any = self
        return home  # type: ignore[no-any-return]

    def _notes(self, path: Path) -> "Iterator[Note]":
        from agentfs.memory.documents import BYTES_MAX  # noqa: PLC0415 - as above
        from agentfs.memory.notes import is_curated, note  # noqa: PLC0415
        from agentfs.sdk.xattrs import xattrs_of  # noqa: PLC0415

        home = self._bare()
        if parts(path)[:1] == (SPACES,):
            raise InvalidArgument(f"{shown(os.fsencode(path))}: a shared space is curated by itself, with --space")
        entries = home.walk(path) if home.stat(path).is_directory else [home.stat(path)]
        for entry in entries:
            if not entry.is_file or entry.size_bytes > BYTES_MAX or not is_curated(entry.path):
                continue
            if os.fsencode(entry.path).decode("utf-8", "replace") != entry.path:
                continue  # a plan is text: it cannot name this file
            try:
                data, xattrs = home.read(entry.path), xattrs_of(home, entry.path)
            except NotFound:
                continue  # deleted since the list was made
            found = note(entry.path, data, xattrs, mtime_ns=entry.modified_ns)
            if found is not None:
                yield found
