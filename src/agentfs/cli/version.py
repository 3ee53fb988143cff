"""`agentfs version`."""

import platform
import sys
from importlib import metadata

import click

from agentfs.cli.options import ExampleCommand, json_option
from agentfs.cli.output import as_json as print_json
from agentfs.format.framing import FORMAT_VERSION

_LIBRARIES = ("apsw", "obstore", "msgpack", "click")


def agentfs_version() -> str:
    try:
        return metadata.version("agentfs-home")
    except metadata.PackageNotFoundError:
        return "unknown"


def library_versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


@click.command(cls=ExampleCommand, examples="agentfs version\nagentfs version --json")
@json_option
def version(*, as_json: bool) -> None:
    """Show the versions of AgentFS and of what it runs on."""
    facts = {
        "agentfs": agentfs_version(),
        "format": FORMAT_VERSION,
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.release()}",
        "libraries": library_versions(),
    }
    if as_json:
        print_json(facts)
        return
    libraries = ", ".join(f"{name} {number}" for name, number in library_versions().items())
    click.echo(f"agentfs {facts['agentfs']} (format {FORMAT_VERSION}), Python {facts['python']}, {facts['platform']}")
    click.echo(f"with {libraries}")
