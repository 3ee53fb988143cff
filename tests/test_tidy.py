"""The house rules that a program can check: layers, imports, clocks, sizes. `ast` only, nothing is imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "agentfs"

LAYERS: dict[str, int] = {
    "errors": 0, "clock": 0, "model": 0, "config": 0, "format": 0, "merge": 0, "crypto": 0,
    "replica": 1, "stores": 1,
    "log": 2,
    "tree": 3, "sync": 3, "history": 3, "retention": 3, "memory": 3, "fsck": 3, "view": 3, "usage": 3,
    "volume": 4,
    "sdk": 5,
    "fuse": 6, "cli": 6, "http": 6, "mcp": 6, "integrations": 6,
}  # fmt: skip
"""Package or module of `agentfs` → its layer (docs/architecture.md). `testing` is outside: nothing imports it."""

WITHIN_LAYER = {("format", "model"), ("merge", "model"), ("model", "errors"), ("config", "errors"),
                ("config", "model"), ("format", "errors"), ("merge", "errors"), ("crypto", "errors"),
                ("cli", "fuse"), ("cli", "mcp")}  # fmt: skip
"""The few imports allowed between packages of one layer: the ground floor's words, and what mounts and serves."""

HOMES = {
    "apsw": {"replica", "sync", "history"}, "obstore": {"stores"}, "msgpack": {"format", "sync", "replica"},
    "numpy": {"memory"}, "tokenizers": {"memory"}, "safetensors": {"memory"}, "wordllama": {"memory"},
    "Stemmer": {"memory"}, "sentence_transformers": {"memory"},
    "click": {"cli"}, "tomlkit": {"config", "merge"}, "loro": {"merge"}, "yaml": {"merge"},
    "mcp": {"mcp"}, "anyio": {"mcp"}, "pydantic": {"mcp"}, "starlette": {"mcp"}, "uvicorn": {"mcp"},
}  # fmt: skip
"""Each third-party library → the packages that may import it."""

FORBIDDEN_CALLS = {
    "time.time": "clock.Clock.wall_ns", "time.time_ns": "clock.Clock.wall_ns", "time.sleep": "clock.Clock.wait",
    "time.monotonic": "clock.Clock.monotonic", "time.monotonic_ns": "clock.Clock.monotonic",
    "datetime.datetime.now": "clock.Clock.wall_ns", "datetime.now": "clock.Clock.wall_ns",
    "print": "the logger, or click.echo in the cli",
}  # fmt: skip
CALLS_ALLOWED_IN = {"clock.py", "replica/database.py"}
BANNED_MODULE_NAMES = {"utils", "util", "helpers", "helper", "manager", "runner", "service", "common", "misc"}
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 600

MODULES = sorted(SOURCE.rglob("*.py"))


def place(path: Path) -> str:
    """The package (or top-level module) that a file belongs to."""
    parts = path.relative_to(SOURCE).parts
    return parts[0].removesuffix(".py")


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            assert node.module is not None
            yield node.lineno, node.module
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def breaches(path: Path, tree: ast.Module) -> list[str]:
    """What in this module breaks the layers."""
    here = place(path)
    found = []
    if here in ("testing", "__init__", "__main__"):
        return found
    if here not in LAYERS:
        return [f"{here} is not in the table of layers"]
    for line, name in imports(tree):
        root, _, rest = name.partition(".")
        if root in HOMES and here not in HOMES[root]:
            found.append(f"line {line}: {root} is imported only in {sorted(HOMES[root])}")
        if root != "agentfs" or not rest:
            continue
        there = rest.split(".")[0]
        if there == here or (here, there) in WITHIN_LAYER:
            continue
        if there not in LAYERS:
            found.append(f"line {line}: {name} has no layer")
        elif LAYERS[there] >= LAYERS[here]:
            found.append(f"line {line}: {here} (layer {LAYERS[here]}) imports {there} (layer {LAYERS[there]})")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_module(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text, str(path))
    where = path.relative_to(SOURCE).as_posix()
    assert not breaches(path, tree)
    assert path.stem not in BANNED_MODULE_NAMES, "name the noun"
    assert len(text.splitlines()) <= MODULE_LINES_MAX
    if path.name == "__init__.py":
        assert len(text.splitlines()) <= 40
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"
        if isinstance(node, ast.Call) and where not in CALLS_ALLOWED_IN and place(path) != "testing":
            called = ast.unparse(node.func)
            assert called not in FORBIDDEN_CALLS, f"line {node.lineno}: {called}: use {FORBIDDEN_CALLS[called]}"


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    names = {"agentfs." + ".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in MODULES}
    for path in MODULES:
        name = "agentfs." + ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        graph[name] = {there for _, there in imports(parsed(path)) if there in names and there != name}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"cycle: {' → '.join((*trail[trail.index(name) :], name))}"
        if name not in done:
            for there in graph[name]:
                visit(there, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_rules_catch_a_breach() -> None:
    """The check itself can fail."""
    assert breaches(SOURCE / "tree" / "x.py", ast.parse("from agentfs.sync import engine"))
    assert breaches(SOURCE / "tree" / "x.py", ast.parse("if TYPE_CHECKING:\n    import agentfs.sync.engine"))
    assert breaches(SOURCE / "tree" / "x.py", ast.parse("import obstore"))
    assert not breaches(SOURCE / "tree" / "x.py", ast.parse("from agentfs.replica.replica import Replica"))
