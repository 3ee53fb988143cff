"""The POSIX-like operations on a replica, with no FUSE in them: what every face translates to."""
