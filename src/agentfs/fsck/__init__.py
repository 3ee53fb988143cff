"""Checks of a store and of a replica, and what can be repaired."""
