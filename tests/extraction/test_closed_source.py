"""A source below a folder that may not be searched: no permission, not missing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from deepfeat.errors import DataMissing, NoPermission
from deepfeat.extraction.source import _is_folder


@pytest.mark.parametrize(
    "number, error",
    [
        (errno.EACCES, NoPermission),
        (errno.EPERM, NoPermission),
        (errno.ENAMETOOLONG, DataMissing),
    ],
)
def test_what_the_system_refuses_to_look_at_is_told_by_its_reason(
    monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def is_dir(path: Path) -> bool:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "is_dir", is_dir)
    with pytest.raises(error, match="closed/A"):
        _is_folder(Path("closed/A"))
