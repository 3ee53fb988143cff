"""What was: the log's history on this machine, by path, by commit and by moment. Derived, rebuilt at will."""
