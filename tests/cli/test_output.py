"""What commands print."""

import pytest

from metajax.cli.output import console, escape, show, titled


def _shown(table, width, monkeypatch):
    monkeypatch.setattr(console, "_width", width)
    with console.capture() as captured:
        show(table)
    text = captured.get()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    return text


@pytest.mark.parametrize("width, parts", [(35, 3), (60, 2), (90, 1), (200, 1)])
def test_columns_without_room_are_below_the_others_and_intervals_stay(width, parts, monkeypatch):
    table = titled("A title", ["", *(f"run_{number}" for number in range(6))])
    table.add_row(escape("a learner [of many words]"), *["71.3 ± 0.8"] * 6)
    text = _shown(table, width, monkeypatch)
    assert text.count("71.3 ± 0.8") == 6
    assert text.count("A title") == 1
    assert text.count("learner") == parts


@pytest.mark.parametrize("words", [0, 1])
def test_a_column_that_is_wider_than_all_is_broken(words, monkeypatch):
    table = titled("A title", ["name", "value"], words=words)
    table.add_row("first", "0123456789" * 4)
    text = _shown(table, 30, monkeypatch)
    assert sum(text.count(digit) for digit in "0123456789") == 40


def test_sections_and_rows_that_end_early_stay(monkeypatch):
    table = titled("A title", ["", *(f"run_{number}" for number in range(6))])
    table.add_row("seed 0", "diverged")
    table.add_section()
    table.add_row("mean", *["71.3 ± 0.8"] * 6)
    text = _shown(table, 60, monkeypatch)
    assert text.count("71.3 ± 0.8") == 6
    assert (text.count("diverged"), text.count("seed 0")) == (1, 2)
    blank = [not line.strip() for line in text.rstrip().splitlines()[1:]]
    assert sum(blank) >= 2  # between the seed and the mean, in both parts
