"""Values that every layer speaks: no I/O, no state."""
