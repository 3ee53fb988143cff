"""Recall and search: a question in, the passages that serve it out."""

from agentfs.memory.results import HALF_LIFE_NS, Asked, Found, Recalled, Strategy

__all__ = ["HALF_LIFE_NS", "Asked", "Found", "Recalled", "Strategy"]
