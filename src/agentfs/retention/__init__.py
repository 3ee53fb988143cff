"""What a volume keeps of its history, and the safe removal of the rest (docs/retention.md)."""
