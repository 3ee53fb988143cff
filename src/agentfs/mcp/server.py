"""The server: tools and resources of one home, for any transport.

The SDK's low-level `Server`, not its `MCPServer`: that one puts a prefix before every message of a tool, where models
know the bare ones, and takes a text that happens to be JSON for an object when the argument may be left out.
"""

import importlib.metadata
import logging
from collections.abc import Sequence
from typing import Any, TypeAlias

import anyio.to_thread
from mcp import types
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError

from agentfs.mcp.pages import capped
from agentfs.mcp.paths import Root
from agentfs.mcp.refusals import Refused
from agentfs.mcp.resources import Resources
from agentfs.mcp.tools import Answer, Tool, tools
from agentfs.sdk.home import Home

_LOG = logging.getLogger(__name__)

_Context: TypeAlias = ServerRequestContext[Any]
_Page: TypeAlias = types.PaginatedRequestParams | None

_INSTRUCTIONS = """\
The memory of {whose}: files that outlive conversations, are the same on every machine that uses them, and
keep every earlier version. At the beginning of a task call recall with what you are about to do, or view /memories.
While you work, remember what will matter later, and keep files below /memories up to date: a conversation can end at
any moment."""


def make_server(home: Home, *, directory: str = "", separate: bool = False) -> Server[Any]:
    """`directory`: `/memories` is this directory of the home, and nothing else of it can be reached. `separate`: the
    commands of the memory tool are tools of their own."""
    root = Root(home, directory.strip("/"))
    whose = f"all who share the space {home.space}" if home.space else f"the agent {home.agent_id}"
    answers = _Answers(tools(root, separate=separate), Resources(root))
    return Server(
        "agentfs",
        title="AgentFS memory",
        version=importlib.metadata.version("agentfs-home"),
        instructions=_INSTRUCTIONS.format(whose=whose),
        on_list_tools=answers.list_tools,
        on_call_tool=answers.call_tool,
        on_list_resources=answers.list_resources,
        on_list_resource_templates=answers.list_templates,
        on_read_resource=answers.read_resource,
    )


class _Answers:
    """What the server does with each request. The home is asked on threads: it may wait for the store."""

    def __init__(self, offered: Sequence[Tool], resources: Resources) -> None:
        self._tools = {tool.name: tool for tool in offered}
        self._resources = resources

    async def list_tools(self, _: _Context, _params: _Page) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool.listed() for tool in self._tools.values()])

    async def call_tool(self, _: _Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = self._tools.get(params.name)
        if tool is None:
            return _failed(f"Error: Unknown tool {params.name}: there are {', '.join(self._tools)}")
        try:
            return _done(await anyio.to_thread.run_sync(tool.call, params.arguments or {}))
        except Refused as refused:
            return _failed(str(refused))
        except Exception:  # noqa: BLE001 - whatever it is, the model hears of it and the server goes on
            _LOG.exception("the tool %s failed", params.name)
            return _failed("Error: the memory server failed at this call; its log says more")

    async def list_resources(self, _: _Context, _params: _Page) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=await anyio.to_thread.run_sync(self._resources.listed))

    async def list_templates(self, _: _Context, _params: _Page) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=self._resources.templates())

    async def read_resource(self, _: _Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        uri = str(params.uri)
        try:
            return await anyio.to_thread.run_sync(self._resources.read, uri)
        except Refused as refused:
            raise MCPError(types.INVALID_PARAMS, str(refused), {"uri": uri}) from refused


def _done(answer: Answer) -> types.CallToolResult:
    text, meta = answer if isinstance(answer, tuple) else (answer, None)
    # No structured content: some clients then show the model nothing but that.
    return types.CallToolResult(content=[types.TextContent(type="text", text=capped(text))], _meta=meta)


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=capped(text))], is_error=True)
