"""This machine's copy of a volume: a SQLite database and one backing file per inode whose bytes are here."""
