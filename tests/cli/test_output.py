"""What commands print."""

import pytest

from metajax.cli.output import console, escape, show, titled


@pytest.mark.parametrize("width", [40, 80, 200])
def test_numbers_and_words_of_a_table_stay_whole(width, monkeypatch):
    monkeypatch.setattr(console, "_width", width)
    columns = ["", *(f"domain_{number}" for number in range(6))]
    table = titled("A title", columns)
    table.add_row(escape("a learner [of many words]"), *["71.3 ± 0.8"] * 6)
    with console.capture() as captured:
        show(table)
    text = captured.get()
    assert text.count("71.3 ± 0.8") == 6
    for name in (*columns, "learner", "[of", "words]"):
        assert name in text
