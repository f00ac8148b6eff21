"""The command line inside the test's own process, where torch is started once and not each time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from deepfeat.cli.main import main


@dataclass(frozen=True)
class Ended:
    """Exit status, standard output, standard error."""

    status: int
    out: str
    err: str


@pytest.fixture
def command_line(capsys):
    """Run what the installed command runs, and say how it ended."""

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    return run
