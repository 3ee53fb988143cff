"""The log of a volume on a store: append, read, settle what is in doubt."""
