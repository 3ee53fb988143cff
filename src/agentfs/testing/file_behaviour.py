"""The behaviour of the file system as tests: bind a face with a subclass that has a `files` fixture.

    class TestLocalDirectory(FileBehaviour):
        left_out = frozenset({Capability.OUR_LIMITS})

        @pytest.fixture
        def files(self, tmp_path):
            return KernelFiles(os.fsencode(tmp_path), self.capabilities)

`files` gives an empty directory that only this test uses. What is expected is what Linux does on a local disk; the
binding to one shows that the suite itself is right.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from agentfs.testing.file_behaviour_attributes import ExtendedAttributes, Modes, Times
from agentfs.testing.file_behaviour_binding import Capability
from agentfs.testing.file_behaviour_bytes import Bytes, Copies, Holes, Nameless
from agentfs.testing.file_behaviour_directories import Directories
from agentfs.testing.file_behaviour_names import Links, Making, Refusals, Renames
from agentfs.testing.file_behaviour_programs import Programs


class FileBehaviour(
    Refusals,
    Renames,
    Links,
    Making,
    Bytes,
    Holes,
    Copies,
    Nameless,
    Modes,
    Times,
    ExtendedAttributes,
    Directories,
    Programs,
):
    """Every face passes these, whatever is below it."""

    left_out: ClassVar[frozenset[Capability]] = frozenset()
    """What the binding does not have. Cases that need it are not collected; `cases_left_out` names them."""
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    def __init_subclass__(cls, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.capabilities = frozenset(Capability) - cls.left_out
        for name in cls.cases_left_out():
            setattr(cls, name, None)

    @classmethod
    def cases_left_out(cls) -> frozenset[str]:
        """The cases that this binding declares to make no sense for it."""
        return frozenset(name for name, capability in _needs() if capability in cls.left_out)


def _needs() -> Iterator[tuple[str, Capability]]:
    for name in dir(FileBehaviour):
        capability = getattr(getattr(FileBehaviour, name), "needs", None)
        if isinstance(capability, Capability):
            yield name, capability
