"""Files of ratings in every layout, what cannot be read, and the real data sets."""

import gzip
import os
import time
from pathlib import Path

import numpy as np
import pytest

from metajax.cli import main as cli
from metajax.data import DATASETS, movietweetings, restaurants, store
from metajax.data.invented_ratings import invented_ratings
from metajax.data.rating_files import GENRES, read_ratings
from metajax.data.ratings import Item, features_of

pytest.importorskip("polars")


def rows(ratings):
    """Every rating as (user, item, rating), by identifier."""
    return sorted(
        (ratings.users[u], ratings.items[i], float(r))
        for u, i, r in zip(ratings.user, ratings.item, ratings.rating, strict=True)
    )


def u_item(identifier, title, *genres):
    marks = ["1" if genre in genres else "0" for genre in GENRES]
    return "|".join([identifier, title, "01-Jan-1995", "", "http://", *marks])


THREE = [("1", "10", 4.0), ("1", "20", 2.0), ("2", "10", 5.0)]
LAYOUTS: dict[str, tuple[dict[str, str], dict[str, Item]]] = {
    "MovieLens 100k": (
        {
            "u.data": "1\t10\t4\t100\n1\t20\t2\t101\n2\t10\t5\t102\n",
            "u.item": f"{u_item('10', 'Été (1995)', 'Drama')}\n{u_item('20', 'B (1990)', 'War', 'Drama')}\n",
        },
        {
            "10": Item("Été (1995)", ("Drama",), 1995),
            "20": Item("B (1990)", ("Drama", "War"), 1990),
        },
    ),
    "MovieLens 1m": (
        {
            "ratings.dat": "1::10::4::100\n1::20::2::101\n2::10::5::102\n",
            "movies.dat": "10::A (1995)::Drama\n20::B: C (1990)::War|Drama\n",
        },
        {
            "10": Item("A (1995)", ("Drama",), 1995),
            "20": Item("B: C (1990)", ("War", "Drama"), 1990),
        },
    ),
    "MovieLens 25m": (
        {
            "ratings.csv": "userId,movieId,rating,timestamp\n1,10,4.0,100\n1,20,2.0,101\n2,10,5.0,102\n",
            "movies.csv": 'movieId,title,genres\n10,"A, The (1995)",Drama\n20,B,(no genres listed)\n',
        },
        {"10": Item("A, The (1995)", ("Drama",), 1995), "20": Item("B")},
    ),
    "goodbooks": (
        {
            "ratings.csv": "user_id,book_id,rating\n1,10,4\n1,20,2\n2,10,5\n",
            "books.csv": "book_id,authors,original_publication_year,title\n10,X,1995.0,A\n20,Y,,B\n",
        },
        {"10": Item("A", (), 1995), "20": Item("B")},
    ),
    "RecBole": (
        {
            "x.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
            "1\t10\t4\t100\n1\t20\t2\t101\n2\t10\t5\t102\n",
            "x.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            "10\tA film\t1995\tDrama War\n20\tB\t\t\n",
        },
        {"10": Item("A film", ("Drama", "War"), 1995), "20": Item("B")},
    ),
    "a table in another order": (
        {"mine.csv": "stars;when;Item ID;User\n4;a;10;1\n2;b;20;1\n5;c;10;2\n"},
        {"10": Item("10"), "20": Item("20")},
    ),
    "a table with tabs and quotes": (
        {
            "mine.tsv": 'user\titem\trating\n"1"\t"10"\t4\n1\t20\t2\n2\t10\t5\n',
            "items.csv": "item,title,genres\n10,A,Drama|War\n20,B,\n",
        },
        {"10": Item("A", ("Drama", "War")), "20": Item("B")},
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_ratings_and_items(name, packed, tmp_path):
    files, items = LAYOUTS[name]
    for file, text in files.items():
        content = text.encode("latin-1" if "u.item" in file else "utf-8")
        if packed:
            (tmp_path / f"{file}.gz").write_bytes(gzip.compress(content))
        else:
            (tmp_path / file).write_bytes(content)
    file = next(iter(files)) + (".gz" if packed else "")
    found = read_ratings(tmp_path / file)
    assert rows(found) == THREE
    assert list(found.titles) == [items[i].title for i in found.items]
    features, tags = features_of([items[i] for i in found.items])
    np.testing.assert_array_equal(found.features, features)
    assert found.tags == tags
    if found.time is not None:
        assert dict(zip(found.time.tolist(), found.rating.tolist(), strict=True)) == {
            100: 4,
            101: 2,
            102: 5,
        }


def test_identifiers_that_are_numbers_are_in_the_order_of_numbers(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("user,item,rating\n10,b,1\n9,a,2\n100,c,3\n")
    found = read_ratings(file)
    assert list(found.users) == ["9", "10", "100"]
    assert list(found.items) == ["a", "b", "c"]
    assert rows(found) == [("10", "b", 1.0), ("100", "c", 3.0), ("9", "a", 2.0)]


def test_features_by_hand():
    items = [Item("a", ("X",), 2000), Item("b", ("X", "Y"), 2020), Item("c", (), None)]
    features, tags = features_of(items)
    assert tags == ("X", "Y")
    # Years in units of 20 from 2000, the mean 2010 for the unknown one; medians and tails of 2000, 2020.
    expected = [[1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0.5, 0, 0, 0]]
    np.testing.assert_allclose(features, expected)


READ = {
    "spaces after commas": b"user, item, rating\n1, a, 3\n2, b, 4 \n",
    "a byte order mark": b"\xef\xbb\xbfuser,item,rating\n1,a,3\n2,b,4\n",
    "lines of Windows": b"user,item,rating\r\n1,a,3\r\n2,b,4\r\n",
    "lines of old Macs": b"user,item,rating\r1,a,3\r2,b,4\r",
    "empty lines at the end": b"user,item,rating\n1,a,3\n2,b,4\n\n\n",
    "bars": b"user|item|rating\n1|a|3\n2|b|4\n",
    "a column of numbers first": b",user,item,rating\n0,1,a,3\n1,2,b,4\n",
    "a comment of two lines": b'user,item,rating,said\n1,a,3,"good,\nreally"\n2,b,4,\n',
    "Latin-1": "user,item,rating,said\n1,a,3,très\n2,b,4,été\n".encode("latin-1"),
    "the header of Book-Crossing": b'"User-ID";"ISBN";"Book-Rating"\n"1";"a";"3"\n"2";"b";"4"\n',
}


@pytest.mark.parametrize("name", READ)
def test_tables_as_programs_write_them(name, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_bytes(READ[name])
    assert rows(read_ratings(file)) == [("1", "a", 3.0), ("2", "b", 4.0)]


def test_titles_in_the_encoding_of_windows(tmp_path):
    (tmp_path / "ratings.csv").write_bytes("user,item,rating\n1,caf\xe9,3\n".encode("cp1252"))
    (tmp_path / "items.csv").write_bytes("item,title\ncaf\xe9,It\u2019s\n".encode("cp1252"))
    found = read_ratings(tmp_path)
    assert (list(found.items), list(found.titles)) == (["caf\xe9"], ["It\u2019s"])


HEADER = "user,item,rating,time\n"
REFUSED = {
    "letters for a rating": (
        HEADER + "1,a,4,1\n1,b,good,2\n2,a,3,3\n",
        "1 of 3 lines cannot be read: line 3: rating='good' must be a number",
    ),
    "a nan": (HEADER + "1,a,nan,1\n", "1 of 1 lines .* line 2: rating='nan' must be a number"),
    "an infinite rating": (HEADER + "1,a,inf,1\n", "line 2: rating='inf' must be a number"),
    "a date": (HEADER + "1,a,4,2020-01-01\n", "line 2: time='2020-01-01' must be a number"),
    "too few fields": (HEADER + "1,a,4,1\n1,b\n", "line 3: 2 fields, but 4 are needed"),
    "too many fields": (HEADER + "1,a,4,1,5\n", "line 2: 5 fields, but 4 are needed"),
    "no user": (HEADER + ",a,4,1\n", "line 2: user is empty"),
    "no item": (HEADER + "1,,4,1\n", "line 2: item is empty"),
    "an empty line": (HEADER + "1,a,4,1\n\n2,a,4,1\n", "1 of 3 lines .* line 3: it is empty"),
    "a pair twice": (
        HEADER + "1,a,4,1\n2,a,4,1\n1,a,5,2\n",
        "line 4: user 1 rated item a on line 2 already; keep one",
    ),
    "many wrong lines": (
        HEADER + "1,a,x,1\n" * 5,
        "5 of 5 lines cannot be read: line 2: .*; line 3: .*; line 4: .*; and 2 more. Correct",
    ),
    "no column of ratings": (
        "user,item,liked\n1,a,1\n",
        "no column of the header names the rating; there are user, item, liked. Name them",
    ),
    "a column twice": (
        "user,item,rating,rating\n1,a,4,2\n",
        "line 1 names two columns 'rating'; rename or remove one",
    ),
    "no header": ("1,2,3\n", "no column of the header names the user or the item or the rating"),
    "an empty file": ("\n", "is empty; give a file of ratings"),
    "a header alone": (HEADER, "holds a header and no ratings"),
    "an empty first line": (
        "\n" + HEADER + "1,a,4,1\n",
        "line 1 is empty, but must name the columns",
    ),
    "a decimal comma": (
        "user;item;rating\n1;a;3,5\n",
        "line 2: rating='3,5' must be a number",
    ),
    "a number with an underscore": (
        HEADER + "1,a,1_0,1\n",
        "line 2: rating='1_0' must be a number",
    ),
    "a pair twice, with a space": (HEADER + "1,a,4,1\n1, a,5,2\n", "user 1 rated item a on line 2"),
    "an open quote": (HEADER + '1,"a,4,1\n2,b,4,1\n', "line 2: 2 fields, but 4 are needed"),
    "UTF-16": ("u\0s\0e\0r\0", "is no text in UTF-8; save it as text in UTF-8"),
    "a rating beyond MovieLens 25m": (
        "userId,movieId,rating,timestamp\n1,10,4.0,1\n1,20,11,1\n",
        "1 of 2 lines .* line 3: rating='11' must be from 0.5 to 5. Correct or remove them, or name the "
        "columns user, item and rating if it is not MovieLens 25m",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_named_with_its_line(name, tmp_path):
    text, message = REFUSED[name]
    file = tmp_path / "mine.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=rf"mine\.csv.*{message}"):
        read_ratings(file)


def test_lines_of_movies_and_files_that_are_missing(tmp_path):
    (tmp_path / "ratings.dat").write_text("1::10::4::100\n1::x\n")
    with pytest.raises(ValueError, match=r"1 of 2 lines .* line 2: 2 fields, but 4 are needed"):
        read_ratings(tmp_path)
    (tmp_path / "u.data").write_text("1\t10\t4\t100\n1\t20\t7\t101\n")
    with pytest.raises(
        ValueError, match=r"1 of 2 lines .* line 2: rating='7' must be from 1 to 5\. Correct"
    ):
        read_ratings(tmp_path / "u.data")
    (tmp_path / "u.data").unlink()
    (tmp_path / "ratings.dat").write_text("1::10::4::100\n")
    (tmp_path / "movies.dat").write_text("10::A\n")
    with pytest.raises(ValueError, match=r"movies\.dat: line 1 has 2 fields, but 3 are needed"):
        read_ratings(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none\.csv: there is no such file"):
        read_ratings(tmp_path / "none.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="is a folder without ratings; it must hold one of"):
        read_ratings(tmp_path / "empty")
    (tmp_path / "broken.csv.gz").write_bytes(b"hello")
    with pytest.raises(ValueError, match="not a whole gzip file"):
        read_ratings(tmp_path / "broken.csv.gz")
    with pytest.raises(
        FileNotFoundError, match=r"movietweetings: looked in .*get it at https://github"
    ):
        movietweetings.load(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"restaurants: looked in .*get it at https://archive"
    ):
        restaurants.load(tmp_path)


def test_invented_ratings_have_the_structure_that_they_state():
    # Of means over 1,500 users and 300 items, in the units of the stated deviation of 1.
    ratings = invented_ratings(4_000, 200, seed=3)
    again = invented_ratings(4_000, 200, seed=3)
    assert rows(ratings) == rows(again)
    assert len(set(ratings.titles)) == 200
    assert (np.bincount(ratings.user) >= 3).all()
    assert len(set(zip(ratings.user.tolist(), ratings.item.tolist(), strict=True))) == len(
        ratings.user
    )
    number = np.bincount(ratings.item, minlength=200)
    mean = np.bincount(ratings.item, ratings.rating, minlength=200) / np.maximum(number, 1)
    # Biases of deviation 1 (0.88 after rounding and cutting to the scale), noise of means below 0.2.
    assert mean[number > 50].std() == pytest.approx(1, abs=0.2)


def shared(name: str) -> Path:
    named = os.environ.get("METAJAX_DATA")
    if not named:
        pytest.skip(f"METAJAX_DATA is not set; it names a folder that holds {name}/")
    assert (Path(named) / name).is_dir(), (
        f"METAJAX_DATA={named} is set and there is no {name}/ in it"
    )
    return Path(named)


def test_the_real_films():
    folder = shared("movietweetings")
    begun = time.perf_counter()
    found = movietweetings.load(folder)
    assert time.perf_counter() - begun < 10  # 0.3 s on a free core
    assert (len(found.rating), len(found.users), len(found.items)) == (100_000, 16_554, 10_506)
    assert len(found.tags) == 25
    assert int((found.features[:, :25].sum(axis=1) == 0).sum()) == 66
    assert int((np.bincount(found.user) >= 20).sum()) == 1_154
    assert DATASETS["movietweetings"].describe(folder).startswith("100,000 ratings from 0 to 10")


def test_the_real_restaurants():
    found = restaurants.load(shared("restaurants"))
    assert (len(found.rating), len(found.users), len(found.items)) == (1_161, 138, 130)
    assert set(found.rating.tolist()) == {0.0, 1.0, 2.0}
    assert "Mexican" in found.tags
    assert "price=low" in found.tags


def said(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    assert caught.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_data_sets_to_be_placed_by_hand_are_listed(capsys):
    placed = [name for name, data_set in DATASETS.items() if not data_set.downloads]
    for arguments in (["list", "datasets"], ["data"]):
        listed = said(capsys, *arguments)
        assert all(name in listed for name in placed)
    assert listed.count("to be placed by hand") == len(placed)


@pytest.mark.parametrize("name", [name for name, data_set in DATASETS.items() if data_set.placed])
def test_the_copy_at_hand_is_that_of_the_results(name, capsys):
    assert store.other_than_measured(name, DATASETS[name].placed, shared(name)) == []
    assert "This is the copy that docs/results were measured on." in said(capsys, "data", name)


def test_another_copy_is_told_from_that_of_the_results(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "movietweetings"
    folder.mkdir()
    (folder / "ratings.dat").write_text("1::10::4::100\n2::10::5::100\n")
    (folder / "movies.dat.gz").write_bytes(gzip.compress(b"10::A (1995)::Drama\n"))
    monkeypatch.setenv("METAJAX_DATA", str(tmp_path))
    told = said(capsys, "data", "movietweetings")
    assert "2 ratings from 0 to 10 of 1 items by 2 users" in told
    assert (
        "Differs from the copy that docs/results were measured on: ratings.dat, movies.dat." in told
    )
    (folder / "ratings.dat").write_text("1::10::4::100\n2::10::11::100\n")
    with pytest.raises(ValueError, match=r"line 2: rating='11' must be from 0 to 10"):
        movietweetings.load(tmp_path)
