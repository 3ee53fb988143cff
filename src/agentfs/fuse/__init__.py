"""The FUSE face on Linux: the kernel's protocol spoken directly on /dev/fuse (docs/decisions/0010)."""
