"""What is shown of a run."""

import time

import pytest

from metajax.train import report


def lines(capsys, steps, monkeypatch):
    """The lines of a run that is at each step after so many seconds."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    with report.reporter(3_000, True, 1.5) as shown:
        for seconds, step in steps:
            now[0] = seconds
            shown.advance(step)
        shown.report({"step": steps[-1][1], "loss": 2.0, "gradient_norm": 1.0, "validation": 0.25})
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    "steps, speed",
    [
        ([(0, 0), (100, 1_000)], "  10 steps/s  200 s left"),
        ([(0, 0), (1_000, 20)], "  0.02 steps/s  149000 s left"),
        ([(7, 300), (9, 2_700)], "  1,200 steps/s  0 s left"),
        ([(7, 300)], ""),  # resumed where a report is due, and no step taken yet
    ],
)
def test_a_line_says_how_long_the_run_takes_from_steps_of_this_start(
    steps, speed, capsys, monkeypatch
):
    step = steps[-1][1]
    assert lines(capsys, steps, monkeypatch) == [
        "compiled in 1.5 s",
        f"step {step}/3000  loss 2.0000  validation 0.2500{speed}",
    ]
