"""The composition root: a replica, its tree and its engine, opened together and closed together."""
