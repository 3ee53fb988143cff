"""What a load was promised, and whether a mount keeps it."""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from load import Change, Model, apply, content
from machines import Machine, until

_LOAD = Path(__file__).with_name("load.py")


class Lost(AssertionError):
    """Something acknowledged is not there, or something is there that nobody wrote."""


@dataclass
class Ledger:
    """One load in one directory of a machine's mount. It may be started many times, on what the last run left."""

    machine: Machine
    name: str
    """The directory, below the mount."""
    place: Path
    """Where the logs are: outside the mount."""
    model: Model = field(default_factory=dict)
    doubt: Change | None = None
    acknowledged: int = 0
    _number: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _log: Path | None = None

    def start(self, entropy: random.Random, *, most: int = 100_000) -> None:
        """Begin to change things; makes the directory when it is not there."""
        assert self._process is None and self.doubt is None
        os.makedirs(self.machine.path(self.name), exist_ok=True)
        self.place.mkdir(exist_ok=True)
        plan = self.place / "plan.json"
        self._log = self.place / f"log-{self._number}"
        plan.write_text(
            json.dumps({"model": self.model, "seed": entropy.getrandbits(60), "number": self._number, "most": most})
        )
        self._process = subprocess.Popen(
            [sys.executable, str(_LOAD), os.fsdecode(self.machine.path(self.name)), str(self._log), str(plan)],
            env={"PATH": os.environ["PATH"]},
        )
        self.machine.children.append(self._process)

    def until_acknowledged(self, count: int, seconds: float = 60.0) -> None:
        """Wait until this run was acknowledged `count` changes."""
        assert self._process is not None and self._log is not None
        log, process = self._log, self._process
        until(
            lambda: log.read_bytes().count(b'"done"') >= count or process.poll() is not None,
            f"{count} acknowledged changes\n{self.machine.logs()}",
            seconds,
        )

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, seconds: float = 60.0, *, ask: bool = True) -> int:
        """End the load after its operation at hand (or, with `ask` false, wait for it to fail), and take in its log.
        Returns its exit code."""
        process, log_path = self._process, self._log
        assert process is not None and log_path is not None
        if ask and process.poll() is None:
            if not log_path.exists():
                self.until_acknowledged(1, seconds)
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            self._process = None
        self._read(log_path)
        return code

    def _read(self, log_path: Path) -> None:
        begun: Change | None = None
        lines = log_path.read_bytes().splitlines() if log_path.exists() else []
        for line in lines:
            record = json.loads(line)
            if "begin" in record:
                fields = record["begin"]
                self._number = fields.pop("number")
                begun = Change(**fields)
            elif "done" in record:
                assert begun is not None
                apply(self.model, begun)
                self.acknowledged += 1
                begun = None
        self.doubt = begun

    # ---- looking ----

    def verify(self, machine: Machine | None = None) -> None:
        """Compare the directory on `machine` (default: its own) with what was acknowledged. Settles the change that
        was in doubt by what is there. Raises `Lost`."""
        found = _shown(os.fsdecode((machine or self.machine).path(self.name)))
        expected: dict[str, bytes | str | None] = {
            path: content(what) if isinstance(what, list) else what for path, what in self.model.items()
        }
        if found == expected:
            self.doubt = None
            return
        doubt = self.doubt
        if doubt is not None:
            self._settle(doubt, found, expected)
            self.doubt = None
            if found == expected:
                return
        raise Lost(f"{self.name} (in doubt: {_brief(doubt)}):\n{_unlike(expected, found)}")

    def _settle(
        self, doubt: Change, found: dict[str, bytes | str | None], expected: dict[str, bytes | str | None]
    ) -> None:
        """Take what is there for the change in doubt, where that is one of its allowed outcomes."""
        beside = f".new-{os.path.basename(doubt.path)}"
        data = content(doubt.parts)
        if doubt.do == "replace" and beside in found and beside not in expected:
            left = found.pop(beside)
            os.unlink(os.path.join(os.fsdecode(self.machine.path(self.name)), beside))
            if not isinstance(left, bytes) or not data.startswith(left):
                raise Lost(f"{self.name}: {beside} holds what nobody wrote")
        if doubt.do in ("create", "replace", "append"):
            there = found.get(doubt.path)
            before = expected.get(doubt.path)
            if not isinstance(there, bytes):
                return
            old = before if isinstance(before, bytes) else b""
            if there == old and before is not None:
                return
            whole = old + data if doubt.do == "append" else data
            if whole.startswith(there) and (doubt.do != "append" or len(there) >= len(old)):
                expected[doubt.path] = there
                self._adopt(doubt, there)
            return
        after = dict(self.model)
        apply(after, doubt)
        if set(after) == set(found):
            self.model = after
            expected.clear()
            expected.update({path: content(what) if isinstance(what, list) else what for path, what in after.items()})

    def _adopt(self, doubt: Change, there: bytes) -> None:
        """Of a write that was cut short, `there` was found: it is the content from now on."""
        after = dict(self.model)
        apply(after, doubt)
        parts = after[doubt.path]
        assert isinstance(parts, list)
        if content(parts) == there:
            self.model = after
            return
        # A partial piece cannot be made from its key: write it anew, as one acknowledged change.
        path = os.path.join(os.fsdecode(self.machine.path(self.name)), doubt.path)
        with open(path, "wb") as file:
            file.write(content(parts))
        self.model = after


def _shown(top: str) -> dict[str, bytes | str | None]:
    found: dict[str, bytes | str | None] = {}
    for directory, names, plain in os.walk(top):
        inner = os.path.relpath(directory, top)
        for name in names + plain:
            path = os.path.join(directory, name)
            place = name if inner == "." else os.path.join(inner, name)
            if os.path.islink(path):
                found[place] = os.readlink(path)
            elif os.path.isdir(path):
                found[place] = None
            else:
                with open(path, "rb") as file:
                    found[place] = file.read()
    return found


def _brief(change: Change | None) -> str:
    return "nothing" if change is None else f"{change.do} {change.path} {change.to} {change.parts}"


def _unlike(expected: dict[str, bytes | str | None], found: dict[str, bytes | str | None]) -> str:
    def say(what: bytes | str | None) -> str:
        return f"{len(what)} bytes {what[:24].hex()}" if isinstance(what, bytes) else repr(what)

    lines = []
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            lines.append(f"  {path}: LOST ({say(expected[path])})")
        elif path not in expected:
            lines.append(f"  {path}: nobody made it ({say(found[path])})")
        elif expected[path] != found[path]:
            lines.append(f"  {path}: expected {say(expected[path])}, found {say(found[path])}")
    return "\n".join(lines[:12])
