"""docs/stores.md says what the code does: every option, variable and error code that is read is in it."""

import re
from pathlib import Path

from agentfs import errors
from agentfs.stores import aws, directory_walk, url
from agentfs.stores import open as opening

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/stores.md").read_text()


def test_every_url_option_is_documented() -> None:
    options = set().union(*url._QUERY_ALLOWED.values())
    assert {option for option in options if not re.search(rf"`{option}[`=]|[?&]{option}=", TEXT)} == set()


def test_every_variable_and_profile_setting_is_documented() -> None:
    source = Path(aws.__file__).read_text()
    names = set(re.findall(r"\bAWS_[A-Z0-9_]+\b", source)) - set(aws._FOREIGN_CREDENTIALS)
    names |= set(opening._GCS_VARIABLES.values()) | set(opening._AZURE_VARIABLES.values())
    assert {name for name in names if f"`{name}" not in TEXT} == set()
    assert {setting for setting in aws._LOGIN_SETTINGS if setting not in TEXT} == set()


def test_every_error_code_is_documented() -> None:
    codes = {
        cls.code for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.StoreError)
    }
    assert {code for code in codes if f"`{code}`" not in TEXT} == set()


def test_the_reserved_names_are_documented() -> None:
    assert directory_walk.SELF in TEXT
    assert directory_walk.TEMPORARY in TEXT
