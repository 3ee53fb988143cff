"""The engine: pushing what is pending, pulling what others committed, fetching bytes. See `engine.Engine`."""
