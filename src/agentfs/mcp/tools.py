"""The tools that are offered: their names, what they say of themselves, and what they do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mcp import types

from agentfs.mcp import arguments, memory, versions
from agentfs.mcp.arguments import Arguments
from agentfs.mcp.commands import Commands
from agentfs.mcp.paths import Root

Answer: TypeAlias = str | tuple[str, dict[str, Any]]
"""The text for the model, and what programs find in the result's `_meta`."""

_MEMORY = """\
Your memory: text files below /memories, which outlive this conversation and are the same on every machine. View
/memories before you begin a task: earlier progress may be there. Write down what you would need if this conversation
ended now; keep files short, current and well named; edit rather than add.
Commands: view (a file with line numbers, or a directory two levels deep), create (a new file), str_replace (a text
that occurs once), insert (after a line), delete, rename. Earlier versions are kept: see the history tool."""
_RECALL = """\
Get the passages of your memory that answer a question best, word for word, with file, lines and date, within a budget
of tokens. Use it before you answer anything that may depend on earlier conversations, and before you start on a task.
It says so when nothing relevant is there."""
_SEARCH = """\
List the places in your memory that match some words, best first, each with its file, lines and a snippet. Use it to
find a file; use recall to get text that answers a question."""
_REMEMBER = """\
Store something worth knowing later: a fact, a decision and its reason, a preference, how a problem was solved. One
thing at a time, complete in itself. It becomes a Markdown file of its own, which recall finds at once. For notes that
you keep up to date use the memory tool instead."""
_HISTORY = """\
List the versions of a file of your memory and who made them, or show one of them. Use it when something that should
be there is missing or was changed, and to bring an earlier text back."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool."""

    name: str
    title: str
    description: str
    takes: type[Arguments]
    do: Callable[[Any], Answer]
    """With checked arguments, on any thread. Raises `Refused`."""
    reads_only: bool = False
    destroys: bool = False

    def call(self, given: Mapping[str, Any]) -> Answer:
        return self.do(arguments.checked(self.takes, given))

    def listed(self) -> types.Tool:
        return types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=arguments.schema(self.takes),
            annotations=types.ToolAnnotations(
                title=self.title,
                read_only_hint=self.reads_only,
                destructive_hint=self.destroys,
                idempotent_hint=self.reads_only,
                open_world_hint=False,
            ),
        )


def tools(root: Root, *, separate: bool = False) -> Sequence[Tool]:
    """All tools. `separate`: the six commands of the memory tool as tools of their own. Where the server keeps to a
    directory `remember` is not there: its files have their own place in the home."""
    commands = _commands(Commands(root))
    files = commands if separate else [_together(commands)]
    if not root.directory:
        files = [*files, _remember(root)]
    return [
        *files,
        Tool("recall", "Recall", _RECALL, arguments.Recall, lambda it: memory.recall(root, it), reads_only=True),
        Tool(
            "search", "Search memory", _SEARCH, arguments.Search, lambda it: memory.search(root, it), reads_only=True
        ),
        Tool("history", "History of a file", _HISTORY, arguments.History, _history(root), reads_only=True),
    ]


def _remember(root: Root) -> Tool:
    return Tool("remember", "Remember", _REMEMBER, arguments.Remember, lambda it: memory.remember(root, it))


def _history(root: Root) -> Callable[[arguments.History], str]:
    def do(given: arguments.History) -> str:
        if given.version:
            return versions.version(root, given.path, given.version, given.view_range)
        return versions.history(root, given.path, given.limit)

    return do


def _commands(commands: Commands) -> list[Tool]:
    return [
        Tool(
            "memory_view",
            "View memory",
            "Show a file of your memory with line numbers, or a directory two levels deep with sizes. View /memories "
            "before you begin a task: earlier progress may be there.",
            arguments.View,
            lambda it: commands.view(it.path, it.view_range),
            reads_only=True,
        ),
        Tool(
            "memory_create",
            "Create a memory file",
            "Make a new text file in your memory, which outlives this conversation.",
            arguments.Create,
            lambda it: commands.create(it.path, it.file_text),
        ),
        Tool(
            "memory_str_replace",
            "Edit a memory file",
            "Replace a text that occurs exactly once in a file of your memory.",
            arguments.StrReplace,
            lambda it: commands.str_replace(it.path, it.old_str, it.new_str),
            destroys=True,
        ),
        Tool(
            "memory_insert",
            "Insert into a memory file",
            "Insert lines into a file of your memory.",
            arguments.Insert,
            lambda it: commands.insert(it.path, it.insert_line, it.insert_text),
        ),
        Tool(
            "memory_delete",
            "Delete from memory",
            "Delete a file of your memory, or a directory with everything in it.",
            arguments.Delete,
            lambda it: commands.delete(it.path),
            destroys=True,
        ),
        Tool(
            "memory_rename",
            "Rename in memory",
            "Rename or move a file or a directory of your memory.",
            arguments.Rename,
            lambda it: commands.rename(it.old_path, it.new_path),
        ),
    ]


def _together(commands: Sequence[Tool]) -> Tool:
    """The one tool `memory`, as Anthropic's."""
    by_name = {tool.name.removeprefix("memory_"): tool for tool in commands}

    def do(given: arguments.Memory) -> Answer:
        tool = by_name[given.command]
        fields = {name: getattr(given, name) for name in tool.takes.model_fields}
        return tool.do(arguments.checked(tool.takes, fields, command=given.command))

    return Tool("memory", "Memory", _MEMORY, arguments.Memory, do, destroys=True)
