"""Between the replica and the store: pushing, pulling, merging."""
