"""`Home.lock`: two machines over one embedded store, without a mount."""

import asyncio
import threading
from pathlib import Path

import pytest

from agentfs import AsyncHome, Home, errors
from agentfs.config.settings import Settings, load


def _settings(tmp_path: Path, machine: str) -> Settings:
    (tmp_path / "store").mkdir(exist_ok=True)
    given = {"store": str(tmp_path / "store"), "state_dir": str(tmp_path / f"state-{machine}"), "timeout": 60}
    return load(given, environment={"HOME": str(tmp_path), "AGENTFS_VIEW": "off"})


def test_increments_of_two_machines_and_two_threads_of_one(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def work(home: Home) -> None:
        try:
            for _ in range(5):
                with home.lock("state/n"):
                    home.write("state/n", b"%d" % (int(home.read("state/n") or b"0") + 1))
        except BaseException as error:
            failed.append(error)

    with (
        Home.open("me", settings=_settings(tmp_path, "one")) as one,
        Home.open("me", settings=_settings(tmp_path, "other")) as other,
    ):
        one.mkdir("state")
        one.sync()
        other.pull()
        threads = [threading.Thread(target=work, args=(home,)) for home in (one, one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(150)
        assert not failed
        one.pull()
        assert one.read("state/n") == b"15"
        assert [entry.path for entry in one.walk()] == ["state", "state/n"]
        assert one.locks() == []


def test_who_has_it_and_what_becomes_of_who_lost_it(tmp_path: Path) -> None:
    with (
        Home.open("me", settings=_settings(tmp_path, "one")) as one,
        Home.open("me", settings=_settings(tmp_path, "other")) as other,
    ):
        with one.lock("f", ttl=60) as held:
            one.write("f", b"one")
            other.pull()
            (facts,) = other.locks()
            assert (facts.path, facts.token, facts.seconds, facts.here) == ("f", held.token, 60, False)
            assert [it.here for it in one.locks()] == [True]
            with pytest.raises(errors.LockHeld, match="locked by me@"), other.lock("f", timeout=0):
                pass
            with pytest.raises(errors.LockHeld, match="another program"), one.lock("f", timeout=0.2):
                pass
            assert not held.is_lost()
        other.pull()
        assert other.read("f") == b"one"
        with pytest.raises(errors.LockLost) as caught, one.lock("f") as held:
            one.write("f", b"late")
            assert (other.break_lock("f") or "").startswith("me@")
            with other.lock("f") as later:
                assert later.token > held.token
                other.write("f", b"other")
        assert isinstance(caught.value, OSError)
        one.sync()
        other.pull()
        for home in (one, other):
            assert home.read("f") == b"other"
            (copy,) = [entry.path for entry in home.list() if ".conflict-" in entry.name]
            assert home.read(copy) == b"late"


def test_an_error_inside_is_the_one_that_is_raised(tmp_path: Path) -> None:
    with Home.open("me", settings=_settings(tmp_path, "one")) as home:
        with pytest.raises(ZeroDivisionError), home.lock("f"):
            home.write("f", b"kept")
            _ = 1 / 0
        assert home.locks() == []
        assert home.read("f") == b"kept"


def test_what_cannot_be_locked(tmp_path: Path) -> None:
    with Home.open("me", settings=_settings(tmp_path, "one")) as home:
        home.mkdir("d")
        with pytest.raises(errors.InvalidArgument), home.lock("d"):
            pass
        with pytest.raises(errors.InvalidArgument), home.lock("f", ttl=0.5):
            pass
        with pytest.raises(errors.NoLock, match="never leaves"), home.lock("x.swp"):
            pass
        with pytest.raises(FileNotFoundError):
            home.break_lock("nothing")


def test_it_can_be_awaited(tmp_path: Path) -> None:
    async def run() -> None:
        async with await AsyncHome.open("me", settings=_settings(tmp_path, "one")) as home:
            async with home.lock("f") as held:
                await home.write("f", b"1")
                assert [it.token for it in await home.locks()] == [held.token]
            assert await home.locks() == []
            with pytest.raises(ZeroDivisionError):
                async with home.lock("f"):
                    raise ZeroDivisionError
            assert await home.break_lock("f") is None

    asyncio.run(run())
