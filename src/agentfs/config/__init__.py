"""Settings: flags over environment over file over defaults, each knowing where it came from."""
