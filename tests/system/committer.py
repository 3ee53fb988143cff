"""`python committer.py <database>`: commits transactions to an SQLite database in WAL mode until standard input ends.

Each transaction adds two rows whose numbers are one sum, and prints its number once it is committed.
"""

import select
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
assert connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
connection.execute("CREATE TABLE IF NOT EXISTS entry (number INTEGER, side TEXT, padding BLOB)")
number = connection.execute("SELECT max(number) FROM entry").fetchone()[0] or 0
while not select.select([sys.stdin], [], [], 0)[0]:
    number += 1
    connection.execute("BEGIN IMMEDIATE")
    for side in ("left", "right"):
        connection.execute("INSERT INTO entry VALUES(?, ?, randomblob(?))", (number, side, number * 37 % 3000))
    if number % 7 == 0:
        connection.execute("DELETE FROM entry WHERE number = ?", (number - 5,))
    if number % 11 == 0:
        connection.execute("UPDATE entry SET padding = randomblob(500) WHERE number % 3 = 0")
    connection.execute("COMMIT")
    print(number, flush=True)
connection.close()
