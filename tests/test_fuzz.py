"""A few of the inputs of `benchmarks/fuzz.py`, which reads a hundred thousand."""

import json
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def test_damaged_files_of_every_kind_are_read_or_refused_by_name():
    command = [sys.executable, CHECKOUT / "benchmarks" / "fuzz.py", "--inputs", "160", "--dry"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout[done.stdout.index("{") :])
    assert result["bad"] == []
    assert (result["inputs"], result["crashes"]) == (160, 0)
    assert len(result["readers"]) >= 30
    for name in ("checkpoint", "saved tree", "learned optimiser"):
        assert result["readers"][name]["refused"] >= 3
