"""What an engine does besides pushing, pulling and fetching: the one place where other parts are tied to it.

A part adds itself in `engine_services`: an observer hears of every commit, a chore is done in quiet moments, an
answer is a word that other processes of this machine may say to the engine's desk, a starter and a closer run when
the engine begins and ends.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from agentfs.clock import Clock
from agentfs.format.layout import volume_name
from agentfs.replica.replica import Replica
from agentfs.stores.protocol import Store
from agentfs.sync.engine import Chore, Engine
from agentfs.sync.ground import Observer
from agentfs.volume.changes import ChangesAnswer
from agentfs.volume.engine_plan import EnginePlan
from agentfs.volume.facts import FileFacts
from agentfs.volume.fusing import FUSE, answer_fused
from agentfs.volume.history import HistoryService
from agentfs.volume.keeping import KEEP, answer_keep_head, snapshot_sequence
from agentfs.volume.lifecycle import LifecycleService
from agentfs.volume.lock_answers import lock_answers
from agentfs.volume.memory import MemoryService
from agentfs.volume.messages import Message
from agentfs.volume.past import PastAnswers
from agentfs.volume.retention import RetentionChore
from agentfs.volume.usage import COUNTED, METRICS, UsageService
from agentfs.volume.view import ViewService

Progress: TypeAlias = Callable[[Message], None]
Answer: TypeAlias = Callable[[Engine, Message, Progress], Message]
"""Called on a thread of the desk, several at once. What must not meet a push or a pull goes through
`Engine.in_turn`."""


@dataclass(slots=True)
class EngineServices:
    observers: list[Observer] = field(default_factory=list)
    chores: list[Chore] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    """By the word in `{"do": word}`."""
    may_fetch_ahead: Callable[[], bool] = lambda: True
    """Whether nothing goes before what the engine fetches ahead."""
    starters: list[Callable[[Engine], None]] = field(default_factory=list)
    """Called once, when the engine can be asked."""
    facts: list[Callable[[], Message]] = field(default_factory=list)
    """What they say is part of the engine's status. They do not wait."""
    closers: list[Callable[[], None]] = field(default_factory=list)
    """Called once, before the engine's replica is closed."""


def engine_services(
    plan: EnginePlan, replica: Replica, store: Store, clock: Clock, *, hurried: Store | None = None
) -> EngineServices:
    """The services of one engine. `hurried`: the same store, for whoever waits for an answer; it gives up early."""
    services = EngineServices(answers={KEEP: answer_keep_head})
    history = _add_history(services, plan, replica, store)
    services.answers.update(lock_answers())
    services.answers.update(FileFacts(replica).answers() | {FUSE: answer_fused})
    volume = volume_name(plan.kind, plan.volume_id)
    memory = MemoryService(plan, replica, clock)
    services.answers.update(memory.answers())
    services.starters.append(memory.start)
    services.may_fetch_ahead = memory.may_fetch_ahead
    services.facts.append(memory.facts)
    services.closers.append(memory.close)
    services.chores.append(RetentionChore(plan.settings, volume, author=plan.agent, clock=clock))
    view = ViewService(plan, replica, history, clock, hurried=hurried)
    services.observers.append(view.observe)
    services.answers.update(view.answers())
    services.starters.append(view.start)
    services.facts.append(view.facts)
    services.closers.insert(0, view.close)  # it writes until the end, and asks the others
    lifecycle = LifecycleService(plan, replica, history, clock)
    services.answers.update(lifecycle.answers())
    services.starters.append(lifecycle.start)
    services.observers.append(lifecycle.observe)
    services.chores.append(lifecycle.chore)
    usage = UsageService(plan, replica, clock=clock)
    services.answers |= {COUNTED: usage.count, METRICS: usage.metrics}
    services.chores.append(usage.chore)
    services.closers.append(usage.close)
    return services


def _add_history(services: EngineServices, plan: EnginePlan, replica: Replica, store: Store) -> HistoryService:
    names = functools.partial(snapshot_sequence, store, volume_name(plan.kind, plan.volume_id))
    history = HistoryService(replica, author=plan.agent, snapshot_names=names)
    services.observers.append(history.observe)
    services.chores.append(history.chore)
    services.answers.update(history.answers())
    services.answers.update(PastAnswers(history).answers())
    services.closers.append(history.close)
    changes = ChangesAnswer(replica, history)
    services.answers.update(changes.answers())
    services.closers.append(changes.close)
    return history
