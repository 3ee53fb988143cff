"""The entry point: finds the command, imports only what it needs, turns errors into one line and an exit code."""

import contextlib
import errno
import importlib
import json
import os
import sys
import threading
from typing import NoReturn

import click

from agentfs.cli import exits
from agentfs.errors import AgentFSError

COMMANDS = {
    "init": ("agentfs.cli.init", "Write the configuration and make or check the store."),
    "mount": ("agentfs.cli.mount", "Mount an agent's home on a directory."),
    "unmount": ("agentfs.cli.unmount", "Push what is pending, unmount, leave no process."),
    "sync": ("agentfs.cli.sync", "Return when every change is in the store."),
    "status": ("agentfs.cli.status", "Show what is mounted, what is pending and how old it is."),
    "space": ("agentfs.cli.space", "Make shared spaces and attach them to homes."),
    "ls": ("agentfs.cli.files", "List files of a home, without a mount."),
    "cat": ("agentfs.cli.files", "Write a file's bytes to standard output."),
    "put": ("agentfs.cli.files", "Store files, or standard input, in a home."),
    "rm": ("agentfs.cli.files", "Delete files of a home."),
    "remember": ("agentfs.cli.remember", "Write a memory: a file with a title, tags, a time to live."),
    "recall": ("agentfs.cli.recall", "Print what serves a question best, within a number of tokens."),
    "search": ("agentfs.cli.recall", "List the passages that match best."),
    "related": ("agentfs.cli.recall", "List documents that are like one, or linked with it."),
    "timeline": ("agentfs.cli.recall", "List what came when."),
    "topics": ("agentfs.cli.recall", "List what the documents are about."),
    "tags": ("agentfs.cli.recall", "List the tags of all documents."),
    "forget": ("agentfs.cli.remember", "Delete memories; the history keeps them."),
    "stats": ("agentfs.cli.stats", "Show what the index of a home holds, and how far it is."),
    "reindex": ("agentfs.cli.stats", "Make the index of a home anew."),
    "history": ("agentfs.cli.history", "Show every version of a file and what became of it."),
    "log": ("agentfs.cli.history", "List the commits of a home."),
    "show": ("agentfs.cli.history", "Write a file's bytes as they were; list a directory as it was."),
    "diff": ("agentfs.cli.diff", "Show what changed in a file between two versions."),
    "restore": ("agentfs.cli.history", "Make a file or a directory what it was."),
    "conflicts": ("agentfs.cli.conflicts", "List what met and could not be put together; show the sides."),
    "resolve": ("agentfs.cli.conflicts", "Say that a conflict is settled."),
    "lock": ("agentfs.cli.lock", "Run a command while no other machine can change a file."),
    "locks": ("agentfs.cli.lock", "List the locks across machines that are in force."),
    "unlock": ("agentfs.cli.lock", "End the lock of a file, whoever has it."),
    "snapshot": ("agentfs.cli.snapshot", "Name the state of a home, so that it is kept."),
    "fork": ("agentfs.cli.fork", "Make a new home that begins as another one is; merge it back."),
    "retention": ("agentfs.cli.clean", "Show or set what a home keeps of its history."),
    "clean": ("agentfs.cli.clean", "Remove from the store what the retention policy does not keep."),
    "usage": ("agentfs.cli.usage", "Show what the store was asked and holds, and what that costs."),
    "lifecycle": ("agentfs.cli.lifecycle", "Rules by which files expire, are archived or thinned."),
    "view": ("agentfs.cli.view", "Show and set what others can read in the bucket; write it anew."),
    "mcp": ("agentfs.cli.mcp", "Serve a home to MCP clients, over stdio or HTTP."),
    "curate": ("agentfs.cli.curate", "Propose what to tidy among notes, as a plan; apply it."),
    "export": ("agentfs.cli.export", "Write passages, or whole files, as JSON lines."),
    "import": ("agentfs.cli.import_", "Bring in Markdown, a vault, JSON lines, another tool's memories."),
    "fsck": ("agentfs.cli.fsck", "Check this machine's replica and the store; repair."),
    "doctor": ("agentfs.cli.doctor", "Say what this machine and this store can and cannot do."),
    "config": ("agentfs.cli.config", "Show and change settings, and where each comes from."),
    "version": ("agentfs.cli.version", "Show the versions of AgentFS and of what it runs on."),
}
"""Command → the module that has it (as the attribute of the same name) and its line in `agentfs --help`."""
_EXAMPLES = (
    "agentfs init --agent-id myagent",
    "agentfs mount ~/memory --agent-id myagent",
    "agentfs remember 'Deploys go out on Tuesdays.' --tag ops",
    "agentfs recall 'when do we deploy?' --max-tokens 500",
    "agentfs COMMAND --help                            # what else it can do, with examples",
)
_LINE_CHARACTERS_MAX = 2000
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""Why standard output may take nothing, or no more."""
ALIASES = {"umount": "unmount"}
_ATTRIBUTES = {"config": "config_group", "import": "import_"}


class LazyGroup(click.Group):
    """Lists the commands without importing them: `agentfs --help` costs Python and click, nothing else."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click gives it
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click gives it
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[name][0])
        command = getattr(module, _ATTRIBUTES.get(name, name))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click gives it
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click gives it
        with formatter.section("Examples"):
            for line in _EXAMPLES:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, help="Show the version and exit.",
              callback=lambda ctx, _param, value: _show_version(ctx) if value else None)  # fmt: skip
def cli() -> None:
    """A home directory for AI agents: an ordinary directory that survives the machine.

    Settings come from flags, then AGENTFS_* variables, then the configuration file, then defaults
    (agentfs config shows each with its source). The exit code tells what went wrong (docs/cli.md).
    """


def _show_version(ctx: click.Context) -> None:
    from agentfs.cli.version import agentfs_version  # noqa: PLC0415 - importlib.metadata only when it is asked for

    click.echo(f"agentfs {agentfs_version()}")
    ctx.exit(0)


def main() -> NoReturn:
    """Run the command line and exit."""
    _hold_descriptors()
    try:
        # Not `cli.main`: that answers a closed pipe and Ctrl-C in its own way.
        with cli.make_context("agentfs", sys.argv[1:]) as context:
            code = cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = exits.USAGE
    except click.ClickException as error:
        code = _fail("usage", _one_line(error.format_message().rstrip(".") + _hint(error)), exits.USAGE)
    except (click.Abort, KeyboardInterrupt):
        code = _fail("interrupted", "interrupted", exits.INTERRUPTED)
    except BrokenPipeError:
        _drop_output()  # the reader (head, grep -q) has seen enough
        code = exits.OK
    except AgentFSError as error:
        code = _fail(error.code, _one_line(str(error)), exits.exit_code(error))
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise  # a fault of ours
        _drop_output()
        click.echo(f"agentfs: the output cannot be written: {error.strerror}", err=True)
        code = exits.FAILED
    _leave(code if isinstance(code, int) else 0)


def _hold_descriptors() -> None:
    """Have something at 0, 1 and 2, whoever started this without them (`>&-`): else a database would be opened there.
    What is written to an output that is closed fails, as anything that cannot be written."""
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest that is free
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - to the end


def _drop_output() -> None:
    """Python must not complain again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(code: int) -> NoReturn:
    """End now, even while a request to a store that hangs keeps a thread: nothing acknowledged depends on it."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    if any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate()):
        ledger = sys.modules.get("agentfs.usage.ledger")
        if ledger is not None:  # it was loaded, so a store was opened: what was counted is not written at this exit
            ledger.flush_all()
        os._exit(code)
    sys.exit(code)


def _hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f": see {context.command_path} --help" if isinstance(context, click.Context) else ""


def _fail(code: str, message: str, number: int) -> int:
    """Say what went wrong: one line on stderr, or with --json one document on stdout."""
    if "--json" in sys.argv[1:]:
        click.echo(json.dumps({"error": {"code": code, "message": message}}))
    else:
        click.echo(f"agentfs: {message}", err=True)
    return number


def _one_line(text: str) -> str:
    """Of an argument that is as long as a book no more than tells which it is."""
    line = " ".join(text.split())
    return line if len(line) <= _LINE_CHARACTERS_MAX else f"{line[:_LINE_CHARACTERS_MAX]} …"


if __name__ == "__main__":
    main()
