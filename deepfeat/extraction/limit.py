"""How many holes a run accepts."""

from __future__ import annotations

from dataclasses import dataclass

from deepfeat.errors import TooManyFailures, UsageError
from deepfeat.status import ANEW


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of holes, or a percentage of the images; without either, any."""

    count: int | None = None
    per_cent: float | None = None

    @property
    def is_set(self) -> bool:
        return self.count is not None or self.per_cent is not None

    def check(self, failures: dict[str, int], images: int) -> None:
        """Compare with the holes so far, by the name of their status.

        Raises
        ------
        TooManyFailures
            If there are more than the limit allows.
        """
        holes = sum(failures.values())
        allowed = images * self.per_cent / 100 if self.per_cent is not None else self.count
        if allowed is not None and holes > allowed:
            raise TooManyFailures(
                f"{holes} of {images} images failed, more than --max-failures allows",
                found=", ".join(f"{name} {count}" for name, count in failures.items()),
                advice="What is done stays. Give a higher --max-failures to go on; or do as "
                f"failures.csv advises, {ANEW} (an unfinished one is the folder STORE.work).",
            )


def limit_of(value: int | str | None) -> Limit:
    """``12``, ``"12"`` or ``"1%"`` as a limit; None for no limit.

    Raises
    ------
    UsageError
        For anything else.
    """
    if value is None:
        return Limit()
    text = str(value).strip()
    number = text.removesuffix("%")
    try:
        if text.endswith("%") and 0 <= float(number) <= 100:
            return Limit(per_cent=float(number))
        if not text.endswith("%") and int(number) >= 0:
            return Limit(count=int(number))
    except ValueError:
        pass
    raise UsageError(
        f"'{value}' limits no failures", expected="a number of images, or a percentage such as 1%"
    )
