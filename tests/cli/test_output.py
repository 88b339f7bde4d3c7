"""What commands print."""

import pytest

from metajax.cli.output import console, escape, show, titled


@pytest.mark.parametrize("width, whole", [(60, 0), (90, 6), (200, 6)])
def test_nothing_of_a_table_is_cut_and_intervals_stay_if_they_fit(width, whole, monkeypatch):
    monkeypatch.setattr(console, "_width", width)
    columns = ["", *(f"run_{number}" for number in range(6))]
    table = titled("A title", columns)
    table.add_row(escape("a learner [of many words]"), *["71.3 ± 0.8"] * 6)
    with console.capture() as captured:
        show(table)
    text = captured.get()
    assert max(map(len, text.splitlines())) <= width
    assert text.count("71.3 ± 0.8") == whole
    assert (text.count("71.3"), text.count("0.8")) == (6, 6)
    assert "…" not in text
