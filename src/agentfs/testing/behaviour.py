"""The behaviour of a file system, as cases that run on anything: the core, a mount, a plain directory.

Bind it in a few lines:

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_behaviour(case: Case, fs: FileSystem) -> None:
        run(case, fs)

`fs` is fresh for each case: `OsFileSystem(directory)` or `TreeFileSystem(tree)` of `behaviour_adapters`, or an
adapter of the face's own.
"""

from agentfs.testing import behaviour_bytes, behaviour_facts, behaviour_names
from agentfs.testing.behaviour_case import Case, FileSystem

__all__ = ["CASES", "Case", "FileSystem", "run"]

CASES: tuple[Case, ...] = (
    *behaviour_names.case.found,
    *behaviour_bytes.case.found,
    *behaviour_facts.case.found,
)


def run(case: Case, fs: FileSystem) -> bool:
    """Run a case; False when `fs` cannot be asked it (`FileSystem.features`). A breach is an `AssertionError`, an
    error that no case expected an `OSError`."""
    if not case.needs <= fs.features:
        return False
    case.run(fs)
    return True
