"""What tools take: checked values, and JSON schemas that are easy to read for a model."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from agentfs.mcp.refusals import Refused

MAX_TOKENS = 20_000
"""Clients refuse results of more than 25,000 tokens, by their own count."""


def _listed(value: object) -> object:
    """Some clients send a list as a string: `[1, 10]`, or `a, b`."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        found = value
    return found if isinstance(found, list) else [part.strip() for part in value.split(",") if part.strip()]


Lines = Annotated[list[int], BeforeValidator(_listed)]
Tags = Annotated[list[str], BeforeValidator(_listed)]
_PATH = "A path at or below /memories."


class Arguments(BaseModel):
    """The arguments of a tool. None is as good as not given."""

    model_config = ConfigDict(extra="forbid")


_A = TypeVar("_A", bound=Arguments)


class View(Arguments):
    path: str = Field(description="A file or a directory: /memories, or a path below it.")
    view_range: Lines | None = Field(
        None, description="Of a file only the lines [first, last], counted from 1; -1 as last: to the end."
    )


class Create(Arguments):
    path: str = Field(description="The file to make; nothing may be there yet. Missing directories are made.")
    file_text: str = Field(description="What is to be in the file.")


class StrReplace(Arguments):
    path: str = Field(description="The file to edit.")
    old_str: str = Field(description="Text of the file, verbatim, that occurs in it exactly once.")
    new_str: str = Field("", description="The text to put in its place; empty: it is removed.")


class Insert(Arguments):
    path: str = Field(description="The file to edit.")
    insert_line: int = Field(description="The number of the line to insert after; 0: at the beginning.")
    insert_text: str = Field(description="The text to insert, as lines of its own.")


class Delete(Arguments):
    path: str = Field(description="A file, or a directory with everything in it.")


class Rename(Arguments):
    old_path: str = Field(description="The file or directory to rename or move.")
    new_path: str = Field(description="Its new path; nothing may be there yet.")


class Memory(Arguments):
    """All six commands in one tool, as models know it."""

    command: Literal["view", "create", "str_replace", "insert", "delete", "rename"] = Field(description="What to do.")
    path: str | None = Field(None, description="For every command but `rename`: a path at or below /memories.")
    view_range: Lines | None = Field(
        None, description="For `view` of a file: only the lines [first, last], from 1; -1 as last: to the end."
    )
    file_text: str | None = Field(None, description="For `create`: what is to be in the new file.")
    old_str: str | None = Field(
        None, description="For `str_replace`: text of the file, verbatim, that occurs in it exactly once."
    )
    new_str: str | None = Field(None, description="For `str_replace`: the text to put in its place.")
    insert_line: int | None = Field(
        None, description="For `insert`: the number of the line to insert after; 0: at the beginning."
    )
    insert_text: str | None = Field(None, description="For `insert`: the text to insert, as lines of its own.")
    old_path: str | None = Field(None, description="For `rename`: the file or directory to rename or move.")
    new_path: str | None = Field(None, description="For `rename`: its new path; nothing may be there yet.")


class Remember(Arguments):
    text: str = Field(description="What is to be remembered, complete in itself, as Markdown.")
    title: str = Field("", description="A short title.")
    tags: Tags = Field([], description="Words to find it by.")
    importance: float | None = Field(None, ge=0, le=1, description="0 to 1: how much it matters; 0.5 is usual.")
    ttl: str = Field("", description="When it may be forgotten: 7d, 12h. Empty: never.")
    type: str = Field("", description="note, decision, preference, instruction, log …")
    space: str = Field("", description="A shared space to put it in, for other agents too. Empty: your own memory.")


class Recall(Arguments):
    query: str = Field(description="What you want to know, in your own words: a question or a few words.")
    max_tokens: int = Field(2000, ge=50, le=MAX_TOKENS, description="How much may come back.")
    strategy: Literal["balanced", "recency", "importance", "relevance"] = Field(
        "balanced", description="What counts more besides how well a passage answers."
    )
    tags: Tags = Field([], description="Only files that have all of these tags.")
    path: str = Field("", description=f"Only what is there. {_PATH}")
    since: str = Field("", description="Only what is not older: 2026-11-21, 7d, yesterday.")


class Search(Arguments):
    query: str = Field(description="Words to look for.")
    limit: int = Field(10, ge=1, le=100, description="How many places at most.")
    tags: Tags = Field([], description="Only files that have all of these tags.")
    path: str = Field("", description=f"Only what is there. {_PATH}")
    since: str = Field("", description="Only what is not older: 2026-11-21, 7d, yesterday.")


class History(Arguments):
    path: str = Field(description=_PATH)
    version: str = Field(
        "", description="The file as it was at v3, @1234, 2026-11-21T10:00, 2h, yesterday. Empty: list its versions."
    )
    view_range: Lines | None = Field(None, description="Of that version only the lines [first, last].")
    limit: int = Field(30, ge=1, le=500, description="How many versions to list.")


def checked(model: type[_A], given: Mapping[str, Any], *, command: str = "") -> _A:
    """The arguments. Raises `Refused`, saying in one line what is wrong."""
    try:
        return model.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
        missing = [str(it["loc"][0]) for it in wrong if it["type"] == "missing"]
        if missing:
            after = f" for command: {command}" if command else ""
            raise Refused(f"Error: Parameter `{missing[0]}` is required{after}") from error
        told = "; ".join(f"`{'.'.join(map(str, it['loc']))}`: {it['msg']}" for it in wrong[:3])
        raise Refused(f"Error: Invalid parameter {told}") from error


def schema(model: type[Arguments]) -> dict[str, Any]:
    """The JSON schema: names, types and descriptions. That something may be null as well is left out."""
    found = model.model_json_schema()
    for field in found["properties"].values():
        field.pop("title", None)
        for choice in field.pop("anyOf", ()):
            if choice.get("type") != "null":
                field.update(choice)
        if field.get("default", ...) in (None, "", []):
            field.pop("default", None)
    return {"type": "object", "properties": found["properties"], "required": found.get("required", [])} | {
        "additionalProperties": False
    }
