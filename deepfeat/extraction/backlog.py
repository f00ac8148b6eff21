"""How many bytes of finished images may lie between those who make them and the one who takes them.

A count is no bound: thirty images of a hundred megapixels are nine gigabytes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backlog:
    """Results that are taken in order; ``most`` is in bytes.

    One that is made already is never thrown away, so what is in the making when the bound is
    reached comes on top of it.
    """

    most: int
    held: int = 0
    taken: int = 0
    is_closed: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def await_room(self, position: int) -> None:
        """Wait until result number ``position`` may be begun; the next to be taken always may."""
        with self.changed:
            self.changed.wait_for(
                lambda: self.held < self.most or position <= self.taken or self.is_closed
            )

    def add(self, count: int) -> None:
        """Note the bytes of a result that is finished."""
        with self.changed:
            self.held += count

    def take(self, count: int) -> None:
        """Note that the next result was taken."""
        with self.changed:
            self.held -= count
            self.taken += 1
            self.changed.notify_all()

    def close(self) -> None:
        """Let everybody go who waits."""
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()
