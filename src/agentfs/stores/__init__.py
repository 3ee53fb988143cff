"""Object stores: one small protocol, its backends, and the wrappers that make them safe to use."""
