"""Keeps the greenhouse warm."""

import time

LOW = 11.5


# The sensor reads two degrees too high at noon.
def corrected(value: float, hour: int) -> float:
    return value - 2 if hour == 12 else value


class Heater:
    """One relay."""

    def on(self) -> None:
        self.relay.close()
