"""Pages written by the program itself: `python -m agentfs.cli.documentation docs` (a test keeps them current)."""

import errno
import inspect
import os
import sys

import click

from agentfs import errors
from agentfs.cli import exits
from agentfs.cli.main import COMMANDS, cli
from agentfs.cli.options import ExampleCommand
from agentfs.config.settings import SETTINGS
from agentfs.fsck.findings import FINDINGS

_WRITTEN = "Written by the program: `python -m agentfs.cli.documentation docs`."

_PATTERNS = """
**Patterns** (`ignore`, `index_ignore`, `shared_locks`, and the rules of `agentfs view`) are a subset of gitignore's:
`*.tmp` is a name in any directory, `drafts/` a directory's, `a/b` a path from the root; `*`, `?` and `[a-z]` do not
match `/`, `**` between slashes is any number of directories. `{a,b}` chooses nothing, as with git: write both. Where
a pattern is set (`agentfs config set`, `view rules`, `lifecycle`) it is refused; `\\{` or `[{]` is the character
([decisions/0263](decisions/0263-braces-are-characters.md)). Options named `--path` take a path, and no pattern.

`agentfs config set` refuses what can only be a mistake: an embedder of no known kind, a half-life below a second.
Where a file or a variable has it already, no command stops because of it: without vectors words answer, and instead
of no half-life 30 days count.
""".rstrip("\n").split("\n")
"""What is said of values that are patterns, and of mistakes."""


def cli_page() -> str:
    """docs/cli.md: every command with its options and examples, and the exit codes."""
    lines = [
        "# The command line",
        "",
        _WRITTEN,
        "",
        "Every command has `--help`. Settings come from flags, then `AGENTFS_*` variables, then the file, then",
        "defaults ([configuration.md](configuration.md)).",
        "",
        "With `--json` standard output is one JSON document with stable keys. Errors are one line on standard error,",
        '`agentfs: <what>: <what to do>`; with `--json` the document is `{"error": {"code", "message"}}`',
        "([errors.md](errors.md) lists the codes). Progress bars go to standard error, and only to a terminal.",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in exits.MEANINGS.items()),
    ]
    context = click.Context(
        cli, info_name="agentfs", max_content_width=100, terminal_width=100, help_option_names=["-h", "--help"]
    )
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        lines += _command(command, context, name)
        if isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=context, max_content_width=100, terminal_width=100)
            for sub in sorted(command.commands):
                lines += _command(command.commands[sub], inner, f"{name} {sub}")
    return "\n".join(lines) + "\n"


def _command(command: click.Command, parent: click.Context, name: str) -> list[str]:
    context = click.Context(
        command, info_name=name.rsplit(maxsplit=1)[-1], parent=parent, max_content_width=100, terminal_width=100
    )
    help_text = command.get_help(context) if isinstance(command, ExampleCommand | click.Group) else ""
    return ["", f"## agentfs {name}", "", "```text", *(line.rstrip() for line in help_text.splitlines()), "```"]


def configuration_page() -> str:
    """docs/configuration.md: every setting."""
    lines = [
        "# Configuration",
        "",
        _WRITTEN,
        "",
        "A setting comes from the first of these that has it; `agentfs config` shows each with its source.",
        "",
        "1. a flag: `--store`, `--cache-size`, …",
        "2. an environment variable: `AGENTFS_STORE`, …",
        "3. the file: the agent's table `[agents.<agent-id>]`, then `[default]`",
        "4. the default",
        "",
        "The file is `$XDG_CONFIG_HOME/agentfs/config.toml` (`~/.config/agentfs/config.toml`); `--config` and",
        "`AGENTFS_CONFIG` name another. `agentfs config set` edits it and keeps comments.",
        "",
        "```toml",
        "[default]",
        'store = "s3://my-bucket/agents?region=eu-central-1"',
        'cache_size = "20GiB"',
        "",
        "[agents.researcher]",
        'durability = "remote"',
        'ignore = ["*.tmp", "scratch/"]',
        "```",
        "",
        "| setting | variable | default | what it is |",
        "|---|---|---|---|",
    ]
    defaults = {"store": "`$XDG_DATA_HOME/agentfs/store`", "state_dir": "`$XDG_STATE_HOME/agentfs`"}
    for setting in SETTINGS:
        default = defaults.get(setting.name) or (f"`{shown}`" if (shown := setting.show(setting.default)) else "none")
        lines.append(f"| `{setting.name}` | `{setting.environment}` | {default} | {setting.meaning} |")
    lines += [
        "",
        "Sizes are `10GiB`, `500MB` or bytes; durations `30s`, `5m` or seconds; lists are TOML lists, in variables",
        "separated by commas.",
        *_PATTERNS,
        "",
        "Credentials are no settings. They come from the environment or the files of the cloud's own tools (`AWS_*`,",
        "`~/.aws`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_*`; see [stores.md](stores.md)), are never written to",
        "the file, and are never printed.",
        "",
        "## On this machine",
        "",
        "| below `state_dir` | what |",
        "|---|---|",
        "| `volumes/home-<agent-id>@<12 hex>/` | the replica: database, contents, the engine's lock, socket, log |",
        "| `mounts/<16 hex>.json`, `.sock`, `.log` | a mount: its facts, its control socket, its log |",
        "| `stores/<12 hex>.json` | what the last probe of a store found |",
        "| `usage.db` | what stores were asked, by day, and what they hold ([usage.md](usage.md)) |",
        "",
        "The 12 hex digits are of the SHA-256 of the store's URL: one agent id in two stores is two homes.",
    ]
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """docs/errors.md: every error code, and every kind of finding."""
    lines = [
        "# Errors",
        "",
        _WRITTEN,
        "",
        "Every error has a stable `code` (`--json`, `error.code` in Python), an errno (what a mount answers) and an",
        "exit code (what the command ends with). In Python they are classes of `agentfs.errors`; what the SDK raises",
        "is also the built-in error of the same meaning (`FileNotFoundError`, …, else `OSError`).",
        "",
        "| code | class | errno | exit code | meaning |",
        "|---|---|---|---|---|",
    ]
    for kind in all_errors():
        code = exits.exit_code(kind.__new__(kind))
        meaning = " ".join(inspect.cleandoc(kind.__doc__ or os.strerror(kind.errno)).split()).replace("|", "\\|")
        lines.append(f"| `{kind.code}` | `{kind.__name__}` | {errno.errorcode[kind.errno]} | {code} | {meaning} |")
    lines += [
        "",
        "## What fsck finds",
        "",
        "A `note` is harmless. `damage` can be derived again: `agentfs fsck --repair` does. `loss` is bytes or",
        "history that the store has no more; a machine that still holds them uploads them with `--repair`.",
        "",
        "| kind | severity | meaning |",
        "|---|---|---|",
        *(f"| `{kind}` | {severity} | {meaning} |" for kind, (severity, meaning) in FINDINGS.items()),
    ]
    return "\n".join(lines) + "\n"


def all_errors() -> list[type[errors.AgentFSError]]:
    """Every class of errors.py, in its order there."""
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in found if issubclass(kind, errors.AgentFSError)]


def main() -> None:
    directory = sys.argv[1] if len(sys.argv) > 1 else "docs"
    for name, page in (
        ("cli.md", cli_page()),
        ("configuration.md", configuration_page()),
        ("errors.md", errors_page()),
    ):
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(page)


if __name__ == "__main__":
    main()
