"""What the tests of evaluation share: fewer draws of the bootstrap, and nothing of this machine."""

from __future__ import annotations

import functools

import pytest

from deepfeat.evaluation import measure


@pytest.fixture(autouse=True)
def few_replicates(monkeypatch):
    """Twenty instead of a thousand: the figures stay, only the ends of intervals move."""
    for name in ("interval", "mean_ap_interval"):
        few = functools.partial(getattr(measure, name), replicates=20)
        monkeypatch.setattr(measure, name, few)


@pytest.fixture(autouse=True)
def nothing_at_hand(monkeypatch, tmp_path):
    """No data sets and weights of whoever runs the tests."""
    monkeypatch.delenv("DEEPFEAT_DATA", raising=False)
    monkeypatch.setenv("DEEPFEAT_CACHE", str(tmp_path / "cache"))
