"""The readable bucket: what a file looks like as an object, and the way back. Pure (docs/view.md)."""
