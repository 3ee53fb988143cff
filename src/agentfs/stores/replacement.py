"""Putting an object only if it is still the version that was seen, on stores that differ in how well they can.

S3 (`If-Match`, since late 2024), Azure and most servers decide it themselves. GCS wants the number of the version.
Ceph 16 takes `If-Match` without the quotes only, and refuses everything else. Some servers ignore it: there the
object is looked at right before it is put.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from agentfs.errors import (
    BucketNotFound,
    ObjectChanged,
    ObjectNotFound,
    OutcomeUnknown,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)

if TYPE_CHECKING:  # names of stub files, absent at run time
    from obstore import ObjectMeta, PutMode

_QUOTED, _BARE, _NEVER = '"{}"', "{}", ""
"""What a tag is sent as; never, if the store does not decide."""


def tag_of(e_tag: str | None) -> str:
    """Our tag of an ETag: without the quotes, which Azure's listings leave out."""
    return (e_tag or "").strip('"')


class Replacement:
    """How one store replaces a version: found out at the first time, by one request for a name that is not there.
    Thread-safe."""

    def __init__(self, trial: "Callable[[PutMode], None]", *, by_generation: bool, url: str) -> None:
        """`trial` tries to replace an object that is not there."""
        self._trial = trial
        self._by_generation = by_generation
        self._url = url
        self._lock = threading.Lock()
        self._form: str | None = None
        self._proven = False

    def put(self, send: "Callable[[PutMode], str]", look: "Callable[[], ObjectMeta]", tag: str) -> str:
        """Call `send` so that it replaces version `tag` only. `look` is what the object is now. Raises
        `ObjectChanged`, and what those two raise."""
        if self._by_generation:
            return send({"version": self._seen(look, tag)["version"]})
        form = self._form_of_tags()
        while form:
            try:
                new = send({"e_tag": form.format(tag)})
            except ObjectChanged:
                if self._proven:
                    raise
                self._seen(look, tag)
                form = _BARE if form == _QUOTED else _NEVER  # it is that version, and yet refused
            else:
                self._form, self._proven = form, True
                return new
        self._seen(look, tag)
        return send("overwrite")

    def _form_of_tags(self) -> str:
        with self._lock:
            if self._form is None:
                self._form = _QUOTED if self._store_decides() else _NEVER
            return self._form

    def _store_decides(self) -> bool:
        """Whether it refuses to replace what is not there."""
        try:
            self._trial({"e_tag": '"none"'})
        except ObjectChanged:
            return True
        except OutcomeUnknown as error:  # of the trial: of the object itself nothing was written
            raise StoreUnavailable(f"{self._url} cannot be reached; nothing was written") from error
        except (StoreUnavailable, StoreDenied, BucketNotFound):
            raise
        except StoreError:
            return False
        return False

    def _seen(self, look: "Callable[[], ObjectMeta]", tag: str) -> "ObjectMeta":
        """Raises `ObjectChanged` if the object is not version `tag`."""
        try:
            found = look()
        except ObjectNotFound as error:
            raise ObjectChanged(f"what was to be replaced is gone: {error}") from None
        if tag_of(found["e_tag"]) != tag:
            raise ObjectChanged(f"{found['path']} at {self._url} is not the version that was to be replaced")
        return found
