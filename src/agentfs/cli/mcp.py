"""`agentfs mcp`: a home as an MCP server, over stdio or HTTP."""

import importlib.util
import os
from typing import TYPE_CHECKING

import click

from agentfs.cli.options import ExampleCommand, agent_of, settings_of, settings_options, space_option
from agentfs.errors import ConfigInvalid, InvalidArgument, NotInstalled
from agentfs.volume.logs import log_to_stderr

if TYPE_CHECKING:
    from agentfs.config.settings import Settings
    from agentfs.mcp.http import Listening
    from agentfs.sdk.home import Home

TOKEN_VARIABLE = "AGENTFS_MCP_TOKEN"


@click.command(
    cls=ExampleCommand,
    examples="agentfs mcp --agent-id myagent\n"
    "agentfs mcp -a myagent --store s3://bucket/agents --separate-tools\n"
    "agentfs mcp -a myagent --http 127.0.0.1:8765\n"
    "agentfs mcp -a myagent --http 0.0.0.0:8765 --allow-host memory.example.org --token-file ~/token",
)
@click.option("--http", metavar="HOST:PORT", help="Serve streamable HTTP there, at /mcp (default: stdio).")
@click.option("--token-file", metavar="FILE", help=f"HTTP: the bearer token to ask for (or {TOKEN_VARIABLE}).")
@click.option("--allow-host", metavar="NAME", multiple=True, help="HTTP: what clients may call this machine.")
@click.option("--root", metavar="DIR", default="", help="A directory of the home to be /memories, and all there is.")
@click.option("--separate-tools", is_flag=True, help="memory_view, memory_create … instead of one tool `memory`.")
@click.option("--offline", is_flag=True, help="Start without the store: empty if need be, merged later.")
@space_option
@settings_options
def mcp(
    *,
    http: str | None,
    token_file: str | None,
    allow_host: tuple[str, ...],
    root: str,
    separate_tools: bool,
    offline: bool,
    **options: str | None,
) -> None:
    """Serve a home to MCP clients: the memory tool, remember, recall, search, history, and files as resources.

    Over stdio it ends when the client closes standard input; what it changed is pushed then. See docs/mcp.md for
    the configuration of common clients. Needs the extra `mcp`: pip install 'agentfs-home[mcp]'.
    """
    space = options.pop("space")
    settings = settings_of(dict(options))
    agent_id = agent_of(settings)
    if http is None and (token_file or allow_host):
        raise click.UsageError("--token-file and --allow-host are for --http")
    _check_installed()
    listening = None if http is None else _listening(http, token_file, allow_host)
    log_to_stderr("warning" if settings.log_level == "info" else settings.log_level)
    with _opened(settings, agent_id, space=space, offline=offline) as home:
        _serve(home, root, listening, separate=separate_tools)


def _check_installed() -> None:
    if importlib.util.find_spec("mcp") is None:
        raise NotInstalled("the MCP server needs the extra mcp: pip install 'agentfs-home[mcp]'")


def _listening(where: str, token_file: str | None, names: tuple[str, ...]) -> "Listening":
    from agentfs.mcp.http import Listening  # noqa: PLC0415

    token = os.environ.get(TOKEN_VARIABLE, "")
    if token_file is not None:
        try:
            with open(token_file, encoding="utf-8") as file:
                token = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigInvalid(f"the token file {token_file} cannot be read: {error}") from error
        if not token.strip():
            raise ConfigInvalid(f"the token file {token_file} is empty")
    return Listening.at(where, token=token.strip(), names=names)


def _opened(settings: "Settings", agent_id: str, *, space: str | None, offline: bool) -> "Home":
    from agentfs.sdk.home import Home  # noqa: PLC0415 - help and usage errors must not wait for it

    return Home.open(agent_id, space=space, settings=settings, offline=offline, session_kind="mcp")


def _serve(home: "Home", root: str, listening: "Listening | None", *, separate: bool) -> None:
    from agentfs.mcp.server import make_server  # noqa: PLC0415

    if root and not home.exists(root):
        home.mkdir(root)
    if root and not home.stat(root).is_directory:
        raise InvalidArgument(f"--root {root} is not a directory of the home")
    server = make_server(home, directory=root, separate=separate)
    if listening is None:
        from agentfs.mcp.stdio import serve_stdio  # noqa: PLC0415

        serve_stdio(server)
    else:
        from agentfs.mcp.http import serve_http  # noqa: PLC0415

        serve_http(server, listening, report=lambda url: click.echo(f"serving {home.agent_id} at {url}", err=True))
