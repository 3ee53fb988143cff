"""The formats with keys, each with its reader and writer."""

from agentfs.merge.forms import Form
from agentfs.merge.structured import Format
from agentfs.merge.values import Unusual


def format_of(form: Form) -> Format:
    """Imports the library of the format."""
    match form:
        case Form.JSON:
            from agentfs.merge import json_source  # noqa: PLC0415

            return Format(json_source.parse, json_source.write, json_source.valid, None)
        case Form.TOML:
            from agentfs.merge import toml_source  # noqa: PLC0415

            return Format(toml_source.parse, toml_source.write, toml_source.valid, "#")
        case Form.YAML:
            from agentfs.merge import yaml_source  # noqa: PLC0415

            return Format(yaml_source.parse, yaml_source.write, yaml_source.valid, "#")
    raise Unusual(f"{form.value} has no keys")
