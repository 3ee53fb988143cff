"""Pure decisions: what becomes of changes that met. No I/O, no clock, no SQL."""
