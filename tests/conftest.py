"""Servers and proxies for all tests; cases of the suites in `agentfs.testing` show their values when they fail."""

from collections.abc import Sequence
from pathlib import Path

import pytest

for _topic in ("attributes", "binding", "bytes", "directories", "names", "programs"):
    pytest.register_assert_rewrite(f"agentfs.testing.file_behaviour_{_topic}")
pytest.register_assert_rewrite("agentfs.testing.store_contract")

pytest_plugins = ["agentfs.testing.fixtures"]

_WAITING = frozenset(("system", "crash"))
"""Directories of tests that mostly wait: for machines of several processes, for those that were killed."""
_BETWEEN = 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that wait are spread among those that compute, and begin early: run side by side
    (`--no-loadscope-reorder`) they use the time, and no long one is the last."""
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    waiting = [path for path in modules if path.parent.name in _WAITING]
    order = _spread(waiting, [path for path in modules if path.parent.name not in _WAITING])
    items[:] = [item for path in order for item in modules[path]]


def _spread(waiting: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """One of the former, then some of the latter, and so on."""
    order: list[Path] = []
    for number, path in enumerate(waiting):
        order += [path, *others[number * _BETWEEN : (number + 1) * _BETWEEN]]
    return [*order, *others[len(waiting) * _BETWEEN :]]
