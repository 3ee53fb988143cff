"""The MCP server's tools and resources, asked by the SDK's client in the same process."""

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from mcp import Client, types
from mcp.shared.exceptions import MCPError
from mcp_clients import Said, memory, said

from agentfs import Home
from agentfs.config.settings import Settings, load
from agentfs.mcp.pages import ANSWER_BYTES
from agentfs.mcp.server import make_server
from agentfs.memory.tokens import default_counter
from agentfs.tree.values import Caller
from agentfs.volume.spaces import create_space

_T = TypeVar("_T")
Asking = Callable[..., Said]


def settings_for(root: Path, machine: str = "one") -> Settings:
    (root / "store").mkdir(exist_ok=True)
    given = {"store": str(root / "store"), "state_dir": str(root / f"state-{machine}"), "timeout": 60}
    return load(given, environment={"HOME": str(root), "AGENTFS_VIEW": "off"})


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home for all tests of this module: what each leaves there is deleted after it."""
    with Home.open("me", settings=settings_for(tmp_path_factory.mktemp("mcp"))) as home:
        yield home


@pytest.fixture
def home(opened: Home) -> Iterator[Home]:
    yield opened
    opened.delete("", recursive=True)


def with_client(home: Home, do: Callable[[Client], Awaitable[_T]], **options: object) -> _T:
    async def run() -> _T:
        async with Client(make_server(home, **options)) as client:  # type: ignore[arg-type]
            return await do(client)

    return asyncio.run(run())


@pytest.fixture
def ask(home: Home) -> Asking:
    """`ask("view", path=…)`: the answer of the tool `memory`."""

    def asking(command: str, **arguments: object) -> Said:
        return with_client(home, lambda client: said(client, "memory", command=command, **arguments))

    return asking


# ---- the memory tool: what it says is what its documentation says ----


def test_a_file_from_its_making_to_its_end(home: Home, ask: Asking) -> None:
    def ok(command: str, **arguments: object) -> str:
        answer = ask(command, **arguments)
        assert not answer.failed
        return answer.text

    path = "/memories/notes.txt"
    made = ok("create", path=path, file_text="Meeting notes:\n- Discussed project timeline\n")
    assert made == "File created successfully at: /memories/notes.txt"
    assert home.read("notes.txt") == b"Meeting notes:\n- Discussed project timeline\n"
    assert ok("view", path=path) == (
        "Here's the content of /memories/notes.txt with line numbers:\n"
        "     1\tMeeting notes:\n     2\t- Discussed project timeline\n     3\t"
    )
    assert ok("view", path=path, view_range=[2, 2]).splitlines()[1:] == ["     2\t- Discussed project timeline"]
    edited = ok("str_replace", path=path, old_str="project timeline", new_str="budget")
    assert edited == (
        "The memory file has been edited. Here is the snippet showing the change (with line numbers):\n"
        "     1\tMeeting notes:\n     2\t- Discussed budget\n     3\t"
    )
    assert ok("insert", path=path, insert_line=1, insert_text="- Who: all\n") == f"The file {path} has been edited."
    assert home.read("notes.txt") == b"Meeting notes:\n- Who: all\n- Discussed budget\n"
    moved = ok("rename", old_path=path, new_path="/memories/old/2026/notes.txt")
    assert moved == "Successfully renamed /memories/notes.txt to /memories/old/2026/notes.txt"
    assert ok("rename", old_path="/memories/old", new_path="/memories/older").startswith("Successfully renamed")
    assert ok("delete", path="/memories/older/2026/notes.txt").startswith("Successfully deleted")
    assert ok("delete", path="/memories/older") == "Successfully deleted /memories/older"
    assert home.list() == []


def test_a_directory(home: Home, ask: Asking) -> None:
    head = "Here're the files and directories up to 2 levels deep in {}, excluding hidden items and node_modules:"
    assert ask("view", path="/memories").text == head.format("/memories") + "\n0B\t/memories"
    home.write("notes.txt", b"x" * 2048)
    home.write("projects/bot.md", b"y" * 512)
    home.write("projects/deep/er/file", b"z" * 1024)
    home.write(".hidden/x", b"-")
    home.write("projects/.hidden", b"-")
    home.write("node_modules/left-pad/index.js", b"-")
    expected = [
        "3.5K\t/memories",
        "2K\t/memories/notes.txt",
        "1.5K\t/memories/projects/",
        "512B\t/memories/projects/bot.md",
        "1K\t/memories/projects/deep/",
    ]
    assert ask("view", path="/memories").text.split("\n") == [head.format("/memories"), *expected]
    assert ask("view", path="/memories/").text.split("\n") == [head.format("/memories"), *expected]
    below = ask("view", path="/memories/projects/deep", view_range=[1, 2]).text.split("\n")
    assert below[1:] == [
        "1K\t/memories/projects/deep",
        "1K\t/memories/projects/deep/er/",
        "1K\t/memories/projects/deep/er/file",
    ]


def test_errors_of_paths(home: Home, ask: Asking) -> None:
    home.write("a.md", b"a\n")
    home.write("d/b.md", b"b\n")
    missing = "/memories/none.md"
    for command, arguments, text in (
        ("view", {"path": missing}, f"The path {missing} does not exist. Please provide a valid path."),
        (
            "view",
            {"path": "/memories/a.md/x"},
            "The path /memories/a.md/x does not exist. Please provide a valid path.",
        ),
        ("create", {"path": "/memories/a.md", "file_text": ""}, "Error: File /memories/a.md already exists"),
        ("create", {"path": "/memories/d", "file_text": ""}, "Error: File /memories/d already exists"),
        ("create", {"path": "/memories", "file_text": ""}, "Error: File /memories already exists"),
        (
            "str_replace",
            {"path": missing, "old_str": "a", "new_str": "b"},
            f"Error: The path {missing} does not exist. Please provide a valid path.",
        ),
        (
            "str_replace",
            {"path": "/memories/d", "old_str": "a", "new_str": "b"},
            "Error: The path /memories/d does not exist. Please provide a valid path.",
        ),
        (
            "insert",
            {"path": missing, "insert_line": 0, "insert_text": "x"},
            f"Error: The path {missing} does not exist",
        ),
        (
            "insert",
            {"path": "/memories/d", "insert_line": 0, "insert_text": "x"},
            "Error: The path /memories/d does not exist",
        ),
        (
            "insert",
            {"path": "/memories/a.md", "insert_line": 2, "insert_text": "x"},
            "Error: Invalid `insert_line` parameter: 2. It should be within the range of lines of the file: [0, 1]",
        ),
        ("delete", {"path": missing}, f"Error: The path {missing} does not exist"),
        ("delete", {"path": "/memories"}, "Error: Cannot delete the /memories directory itself"),
        (
            "rename",
            {"old_path": missing, "new_path": "/memories/a.md"},
            f"Error: The path {missing} does not exist",
        ),
        (
            "rename",
            {"old_path": "/memories/a.md", "new_path": "/memories/d"},
            "Error: The destination /memories/d already exists",
        ),
        (
            "rename",
            {"old_path": "/memories", "new_path": "/memories/x"},
            "Error: Cannot rename the /memories directory itself",
        ),
        ("view", {"path": "/etc/passwd"}, "Error: Path must start with /memories, got: /etc/passwd"),
        (
            "create",
            {"path": "/memories/../x", "file_text": ""},
            "Error: Path /memories/../x would escape /memories directory",
        ),
        ("create", {"path": "/memories/x"}, "Error: Parameter `file_text` is required for command: create"),
        ("rename", {"path": "/memories/x"}, "Error: Parameter `old_path` is required for command: rename"),
    ):
        answer = ask(command, **arguments)
        assert (answer.text, answer.failed) == (text, True), (command, arguments)
    assert sorted(entry.path for entry in home.walk()) == ["a.md", "d", "d/b.md"]
    assert home.read("a.md") == b"a\n"


@pytest.mark.parametrize("path", ["/memories/x\0y", "/memories/" + "n" * 256, "/memories/a.md/x", "/memories/\ud800"])
def test_names_that_cannot_be(home: Home, ask: Asking, path: str) -> None:
    home.write("a.md", b"a\n")
    answer = ask("create", path=path, file_text="x")
    assert answer.failed and "\n" not in answer.text and answer.text.startswith("Error: ")
    assert [entry.path for entry in home.walk()] == ["a.md"]


def test_what_is_no_text(home: Home, ask: Asking) -> None:
    home.write("image.png", b"\x89PNG\r\n\0\0")
    assert ask("view", path="/memories/image.png").text == "Error: /memories/image.png is not a text file (8B)"
    assert ask("str_replace", path="/memories/image.png", old_str="PNG", new_str="JPG").failed
    home.write("latin1.txt", b"caf\xe9\nth\xe9\n")
    assert ask("view", path="/memories/latin1.txt").text.endswith("     1\tcaf\ufffd\n     2\tth\ufffd\n     3\t")
    assert not ask("insert", path="/memories/latin1.txt", insert_line=1, insert_text="eau é").failed
    assert home.read("latin1.txt") == b"caf\xe9\neau \xc3\xa9\nth\xe9\n"  # the rest byte for byte
    home.write(b"raw\xff.md", b"x")
    assert "raw\ufffd.md" in ask("view", path="/memories").text


def test_results_are_bounded(home: Home, ask: Asking) -> None:
    home.write("long.md", "".join(f"line {number} of a long file\n" for number in range(1, 20_001)))
    first = ask("view", path="/memories/long.md").text
    assert len(first.encode()) < ANSWER_BYTES + 300
    hint = first.splitlines()[-1]
    assert hint.startswith("[Lines 1-") and hint.endswith(", 20001]]")
    start = int(hint.split("view_range [")[1].split(",")[0])
    assert (
        ask("view", path="/memories/long.md", view_range=[start, -1]).text.splitlines()[1].startswith(f"{start:>6}\t")
    )
    wrong = ask("str_replace", path="/memories/long.md", old_str="no" * 40_000, new_str="")
    assert wrong.failed and len(wrong.text.encode()) < 50_000


def test_symbolic_links_stay_inside(home: Home, ask: Asking) -> None:
    home.write("secret/x.md", b"x\n")
    tree = home._tree  # the SDK makes no links
    tree.symlink(1, b"out", b"/etc/passwd", Caller.process())
    tree.symlink(1, b"in", b"secret/x.md", Caller.process())
    assert ask("view", path="/memories/out").failed
    assert ask("view", path="/memories/in").text.endswith("     1\tx\n     2\t")
    listed = ask("view", path="/memories").text
    assert "2B\t/memories/in" in listed and "/memories/out" not in listed


# ---- only a directory of the home ----


def test_a_server_that_keeps_to_a_directory(home: Home) -> None:
    home.write("mine/a.md", b"a\n")
    home.write("other.md", b"secret\n")
    home._tree.symlink(home.stat("mine").ino, b"link", b"../other.md", Caller.process())

    async def do(client: Client) -> list[Said]:
        return [
            await said(client, "memory", command="view", path="/memories"),
            await said(client, "memory", command="view", path="/memories/link"),
            await said(client, "memory", command="view", path="/memories/other.md"),
            await said(client, "memory", command="create", path="/memories/new/b.md", file_text="b"),
            await said(client, "memory", command="delete", path="/memories"),
            await said(client, "history", path="/memories/a.md"),
        ]

    view, link, other, created, deleted, _ = with_client(home, do, directory="mine")
    assert view.text.split("\n")[1:] == ["2B\t/memories", "2B\t/memories/a.md"]
    assert link.failed and "via symlink" in link.text
    assert other.failed and "does not exist" in other.text
    assert not created.failed and home.read("mine/new/b.md") == b"b"
    assert deleted.failed

    async def resources(client: Client) -> list[str]:
        assert (await client.read_resource("agentfs://me/a.md")).contents
        for uri in ("agentfs://me/link", "agentfs://me/other.md"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)
        return [str(it.uri) for it in (await client.list_resources()).resources]

    assert sorted(with_client(home, resources, directory="mine")) == ["agentfs://me/a.md", "agentfs://me/new/b.md"]


# ---- what is offered ----


def test_the_tools_and_what_they_say_of_themselves(home: Home) -> None:
    async def tools(client: Client) -> list[types.Tool]:
        return (await client.list_tools()).tools

    offered = {tool.name: tool for tool in with_client(home, tools)}
    assert offered.keys() == {"memory", "remember", "recall", "search", "history"}
    for tool in offered.values():
        assert tool.title and tool.description and len(tool.description) < 700
        hints = tool.annotations
        assert hints is not None and hints.open_world_hint is False
        assert hints.read_only_hint is (tool.name in ("recall", "search", "history"))
        assert hints.destructive_hint is (tool.name == "memory")
        assert tool.output_schema is None
    separate = {tool.name: tool for tool in with_client(home, tools, separate=True)}
    six = {f"memory_{name}" for name in ("view", "create", "str_replace", "insert", "delete", "rename")}
    assert separate.keys() == (offered.keys() - {"memory"}) | six
    assert separate["memory_view"].annotations.read_only_hint is True
    assert separate["memory_delete"].annotations.destructive_hint is True

    async def instructions(client: Client) -> str | None:
        return client.instructions

    assert "agent me" in (with_client(home, instructions) or "")


def test_the_commands_as_tools_of_their_own(home: Home) -> None:
    async def do(client: Client) -> list[Said]:
        return [
            await said(client, "memory_create", path="/memories/a.json", file_text='{"a": [1, 2]}'),
            await said(client, "memory_view", path="/memories/a.json", view_range="[1, 1]"),
            await said(client, "memory_str_replace", path="/memories/a.json", old_str="[1, 2]", new_str="[]"),
            await said(client, "memory_insert", path="/memories/a.json", insert_line=0, insert_text="[]"),
            await said(client, "memory_rename", old_path="/memories/a.json", new_path="/memories/b.json"),
            await said(client, "memory_delete", path="/memories/b.json"),
        ]

    answers = with_client(home, do, separate=True)
    assert not any(answer.failed for answer in answers), answers
    assert answers[1].text.endswith('     1\t{"a": [1, 2]}')


def test_what_is_asked_wrongly(home: Home) -> None:
    async def do(client: Client) -> list[Said]:
        return [
            await said(client, "memory", path="/memories"),
            await said(client, "memory", command="fly"),
            await said(client, "memory", command="view", path=["/memories"]),
            await said(client, "nothing"),
        ]

    for answer in with_client(home, do):
        assert answer.failed and answer.text.startswith("Error: ") and "\n" not in answer.text, answer
        assert "pydantic" not in answer.text


# ---- remember, recall, search ----


def test_what_is_remembered_is_recalled(home: Home) -> None:
    async def do(client: Client) -> None:
        done = await said(
            client,
            "remember",
            text="Caroline prefers green tea, never coffee.",
            title="Caroline's drink",
            tags="caroline, drinks",
            importance=0.8,
        )
        assert not done.failed and done.text.startswith("Remembered, in /memories/memories/")
        path = done.text.removeprefix("Remembered, in ")
        stored = await memory(client, "view", path=path)
        assert "Caroline prefers green tea" in stored and "importance: 0.8" in stored
        await memory(client, "create", path="/memories/notes/deploy.md", file_text="Deploys run on Tuesdays.\n")

        recalled = await said(client, "recall", query="What does Caroline drink?")
        assert "Caroline prefers green tea, never coffee." in recalled.text
        (passage,) = [it for it in recalled.meta["agentfs/passages"] if it["path"] == path]
        assert f"## {path}:{passage['first_line']}" in recalled.text
        line = await memory(client, "view", path=path, view_range=[passage["first_line"], passage["last_line"]])
        assert line.endswith("\tCaroline prefers green tea, never coffee.")

        found = await said(client, "search", query="deploys tuesdays", limit=1)
        assert "/memories/notes/deploy.md:1-1 (" in found.text and "    Deploys run on Tuesdays." in found.text
        assert [it["path"] for it in found.meta["agentfs/passages"]] == ["/memories/notes/deploy.md"]

        tagged = await said(client, "recall", query="tea or deploys", tags=["caroline"])
        assert "deploy.md" not in tagged.text and "green tea" in tagged.text
        below = await said(client, "search", query="tea deploys", path="/memories/notes")
        assert "deploy.md" in below.text and "caroline" not in below.text
        nothing = await said(client, "recall", query="lattice quantum chromodynamics")
        assert not nothing.failed and nothing.meta["agentfs/passages"] == []
        await memory(client, "delete", path=path)
        assert "green tea" not in (await said(client, "recall", query="What does Caroline drink?")).text

    with_client(home, do)


def test_recall_keeps_to_its_budget_with_the_paths_that_it_names(home: Home) -> None:
    for number in range(60):
        home.write(
            f"n/{number}/tea.md",
            f"Tea number {number} is {['green', 'black', 'white', 'oolong'][number % 4]} tea.\n" * 2,
        )

    async def do(client: Client) -> None:
        before = 0
        for budget in (50, 77, 100, 200, 333, 1000):
            answer = await said(client, "recall", query="which tea is oolong tea", max_tokens=budget)
            assert answer.meta["agentfs/tokens"] == default_counter().count(answer.text) <= budget
            assert all(it["path"].startswith("/memories/n/") for it in answer.meta["agentfs/passages"])
            assert len(answer.meta["agentfs/passages"]) >= before
            before = len(answer.meta["agentfs/passages"])
        assert before > 10
        assert (await said(client, "recall", query="tea", max_tokens=40_000)).failed
        await memory(client, "create", path="/memories/zebra.md", file_text="zebra " + "word " * 200 + ".\n")
        short = await said(client, "recall", query="zebra", max_tokens=50, path="/memories/zebra.md")
        assert short.text.startswith("The best passage needs ")
        assert short.meta["agentfs/tokens"] <= 50
        needs = int(re.findall(r"\d+", short.text)[0])
        enough = await said(client, "recall", query="zebra", max_tokens=needs, path="/memories/zebra.md")
        assert enough.text.startswith("## /memories/zebra.md:1")

    with_client(home, do)


@pytest.mark.parametrize("query", ['" AND ( NEAR * ^', "x" * 100_000, "a\0b", "🙂 \u202eabc", "", "\ud800"])
def test_hostile_questions(home: Home, query: str) -> None:
    home.write("a.md", "some text\n")

    async def do(client: Client) -> list[Said]:
        return [await said(client, tool, query=query) for tool in ("recall", "search")]

    for answer in with_client(home, do):
        assert not answer.failed or ("\n" not in answer.text and answer.text.startswith("Error: "))
        assert "its log says more" not in answer.text and len(answer.text) < 110_000


def test_what_is_asked_of_memory_wrongly(home: Home) -> None:
    async def do(client: Client) -> list[Said]:
        return [
            await said(client, "recall", query="x", since="whenever"),
            await said(client, "recall", query="x", path="notes"),
            await said(client, "recall", query="x", path="/memories/../x"),
            await said(client, "search", query="x", limit=0),
            await said(client, "remember", text="x", ttl="soon"),
            await said(client, "remember", text="x", importance=2),
            await said(client, "remember", text="x", space="none"),
            await said(client, "remember"),
        ]

    for answer in with_client(home, do):
        assert answer.failed and answer.text.startswith("Error: ") and "\n" not in answer.text, answer
    assert home.list() == []


def test_a_directory_is_all_that_can_be_recalled(home: Home) -> None:
    home.write("mine/a.md", "My tea is green.\n")
    home.write("other.md", "The secret tea is black.\n")

    async def do(client: Client) -> list[Said]:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {"memory", "recall", "search", "history"}
        return [await said(client, tool, query="secret tea black green") for tool in ("recall", "search")]

    for answer in with_client(home, do, directory="mine"):
        assert "/memories/a.md:1" in answer.text and "other" not in answer.text and "secret tea is" not in answer.text


def test_a_shared_space_is_part_of_the_memory(home: Home, opened: Home) -> None:
    create_space(opened._volume.settings, "team", agent="me")
    home.attach_space("team")
    try:

        async def do(client: Client) -> None:
            done = await said(client, "remember", text="The team drinks oolong.", space="team")
            assert done.text.startswith("Remembered, in /memories/spaces/team/memories/")
            assert "-\t/memories/spaces/team/" in await memory(client, "view", path="/memories")
            assert "memories/" in await memory(client, "view", path="/memories/spaces/team")
            recalled = await said(client, "recall", query="What does the team drink?")
            assert "## /memories/spaces/team/memories/" in recalled.text and "oolong" in recalled.text
            refused = await said(client, "memory", command="delete", path="/memories/spaces")
            assert refused.failed and "attached" in refused.text
            await memory(client, "create", path="/memories/a.md", file_text="a")
            moved = await said(
                client, "memory", command="rename", old_path="/memories/a.md", new_path="/memories/spaces/team/a.md"
            )
            assert moved.failed and "different spaces" in moved.text and "\n" not in moved.text
            edited = "/memories/spaces/team/plan.md"
            await memory(client, "create", path=edited, file_text="one\n")
            await memory(client, "insert", path=edited, insert_line=1, insert_text="two")
            home.sync()
            assert "created, by me" in (await said(client, "history", path=edited)).text

        with_client(home, do)

        async def by_itself(client: Client) -> None:
            assert "share the space team" in (client.instructions or "")
            assert "two" in await memory(client, "view", path="/memories/plan.md")
            assert (await client.read_resource("agentfs://team/plan.md")).contents
            assert "/memories/memories/" in (await said(client, "recall", query="What does the team drink?")).text

        with Home.open("me", space="team", settings=opened._volume.settings) as team:
            with_client(team, by_itself)
    finally:
        home.detach_space("team", force=True)


# ---- history ----


def test_history(home: Home) -> None:
    async def do(client: Client) -> None:
        assert (await said(client, "history", path="/memories/none")).failed
        await memory(client, "create", path="/memories/old.md", file_text="one\n")
        home.sync()
        await memory(client, "str_replace", path="/memories/old.md", old_str="one", new_str="two")
        await memory(client, "rename", old_path="/memories/old.md", new_path="/memories/new.md")
        home.sync()
        listed = (await said(client, "history", path="/memories/new.md")).text.split("\n")
        assert listed[0] == "Here's the history of /memories/new.md, the newest first:"
        facts = [line.split("\t") for line in listed[1:]]
        assert [(number, length) for number, _, length, _ in facts][-1] == ("v1", "4B")
        assert facts[-1][3] == "created, by me"
        assert any(it[3] == "renamed from /memories/old.md, by me" for it in facts)
        first = await said(client, "history", path="/memories/new.md", version="v1")
        assert (
            first.text
            == "Here's the content of /memories/new.md as it was at v1, with line numbers:\n     1\tone\n     2\t"
        )
        assert (await said(client, "history", path="/memories/new.md", version="v9")).failed
        assert (await said(client, "history", path="/memories/new.md", version="whenever")).failed
        few = (await said(client, "history", path="/memories/new.md", limit=1)).text.split("\n")
        assert len(few) == 4 and few[-1].endswith("older ones are not shown: ask with a higher limit.]")

    with_client(home, do)


# ---- resources ----


def test_files_as_resources(home: Home) -> None:
    home.write("notes/ä ö.md", "tea\n")
    home.write("image.png", b"\x89PNG\0")
    home.write(".hidden.md", b"-")
    home.write("large.txt", b"x" * ((1 << 20) + 1))

    async def do(client: Client) -> None:
        found = {it.name: it for it in (await client.list_resources()).resources}
        assert found.keys() == {"notes/ä ö.md", "image.png", "large.txt"}
        note = found["notes/ä ö.md"]
        assert str(note.uri) == "agentfs://me/notes/%C3%A4%20%C3%B6.md"
        assert (note.mime_type, note.size) == ("text/markdown", 4)
        (content,) = (await client.read_resource(str(note.uri))).contents
        assert isinstance(content, types.TextResourceContents) and content.text == "tea\n"
        (content,) = (await client.read_resource(str(found["image.png"].uri))).contents
        assert isinstance(content, types.BlobResourceContents) and content.blob == "iVBORwA="
        for uri in (
            "agentfs://me/none",
            "agentfs://me/large.txt",
            "agentfs://me/notes",
            "agentfs://me/%2e%2e/x",
            "file:///x",
        ):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            assert "\n" not in caught.value.error.message
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "agentfs://me/{+path}"

    with_client(home, do)


def test_the_list_of_resources_is_bounded(home: Home) -> None:
    for number in range(205):
        home.write(f"{number % 7}/{number}.md", b"x")

    async def count(client: Client) -> int:
        return len((await client.list_resources()).resources)

    assert with_client(home, count) == 200


# ---- others at work ----


def test_edits_of_two_clients_at_once(home: Home) -> None:
    home.write("a.md", "".join(f"{who}: 0\n" for who in range(4)))

    def counts(who: int) -> None:
        async def do(client: Client) -> None:
            for number in range(8):
                await memory(
                    client,
                    "str_replace",
                    path="/memories/a.md",
                    old_str=f"{who}: {number}",
                    new_str=f"{who}: {number + 1}",
                )

        with_client(home, do)

    threads = [threading.Thread(target=counts, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert home.read_text("a.md") == "".join(f"{who}: 8\n" for who in range(4))
