"""Pictures from strangers: damaged copies of every kind are read, or refused in one error (see `scripts/fuzz`)."""

from __future__ import annotations

import pytest
from helpers_fuzz import fuzz
from helpers_fuzz_pictures import PICTURES


@pytest.mark.parametrize("kind", PICTURES, ids=lambda kind: kind.name)
def test_damaged_pictures_are_read_or_refused(tmp_path, kind):
    verdicts = list(fuzz(kind, tmp_path, count=12, seed=5))
    assert len(verdicts) == 12 and [verdict for verdict in verdicts if verdict.problem] == []
