"""Makes the wrong calls of `tests/test_wrong_calls.py` and counts how they are answered.

python benchmarks/wrong_calls.py

Clear: a ValueError or FileNotFoundError that says what the test demands. Obscure: another error or another
sentence. Silent: the call returned.
"""

import json
import sys
import time
from collections.abc import Callable

import pytest
import record

sys.path.insert(0, str(record.HERE.parent / "tests"))

import test_wrong_calls as calls

RESULT = "wrong_calls"


def answer(law: Callable[[], None]) -> str:
    """How a call that must be refused was answered."""
    try:
        law()
    except pytest.fail.Exception:
        return "silent"
    except Exception:
        return "obscure"
    return "clear"


def main() -> None:
    laws = [
        *(
            (case.id, calls.test_a_number_that_is_none_or_out_of_range_is_named, case.values)
            for case in calls.CASES
        ),
        *((name, calls.test_a_wrong_argument_is_named, pair) for name, *pair in calls.WRONG),
    ]
    counts, seconds, bad = {"clear": 0, "obscure": 0, "silent": 0}, [], []
    for name, law, values in laws:
        begun = time.perf_counter()
        kind = answer(lambda law=law, values=values: law(*values))
        seconds.append(time.perf_counter() - begun)
        counts[kind] += 1
        if kind != "clear":
            bad.append({"call": str(name), "answer": kind})
    found = {"calls": len(laws), **counts, "bad": bad, "longest_seconds": round(max(seconds), 2)}
    record.write(RESULT, {**found, **record.context()})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
