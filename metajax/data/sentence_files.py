"""Anybody's labelled sentences: JSON lines or a table, of which every line that cannot be read is named."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from metajax import files
from metajax.data.delimited import bytes_of, named_once, separator_of
from metajax.data.sentences import Sentences

_SHOWN = 3
COLUMNS = ("text", "label")


def read_sentences(path: str | Path) -> Sentences:
    """Reads labelled sentences from JSON lines or a table, perhaps packed as `.gz`.

    Args:
      path: A file whose name ends in `.jsonl`, `.csv` or `.tsv`, in UTF-8, with columns text, label, and
        perhaps domain; without it all are of one domain, which has the name of the file. Between the fields
        of a table are commas, semicolons, tabs or bars, whatever is in its header.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: For another ending or encoding, missing or repeated columns, no sentence at all, and lines
        that cannot be read: their number, and the first of them by line and reason. Nothing is left out.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     file = Path(folder) / "mine.csv"
      ...     _ = file.write_text("text,label\\nhello there,greeting\\n")
      ...     found = read_sentences(file)
      >>> found.texts, found.labels, found.domains
      (['hello there'], ['greeting'], ['mine'])
    """
    path = Path(path).expanduser()
    with files.naming(path):
        content = bytes_of(path, "sentences")
        try:
            text = content.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise ValueError(
                f"{path}: line {line} is not UTF-8; save the file as UTF-8."
            ) from error
        name = path.name.removesuffix(".gz")
        if Path(name).suffix not in READERS:
            raise ValueError(
                f"{path}: the name must end in {', '.join(READERS)}, or one of them and .gz."
            )
        rows, wrong, total = [], [], 0
        for line, row, reason in READERS[Path(name).suffix](path, text):
            total += 1
            reason = reason or _reason(row)
            if reason:
                wrong.append(f"line {line}: {reason}")
            else:
                rows.append((line, row))
        if wrong:
            more = f"; and {len(wrong) - _SHOWN:,} more" if len(wrong) > _SHOWN else ""
            raise ValueError(
                f"{path}: {len(wrong):,} of {total:,} lines cannot be read: {'; '.join(wrong[:_SHOWN])}{more}. "
                "Correct or remove them."
            )
        if not rows:
            raise ValueError(f"{path} holds a header and no sentences; give a file of sentences.")
        whole = Path(name).stem
        return Sentences(
            whole,
            [row["text"].strip() for _, row in rows],
            [row["label"].strip() for _, row in rows],
            [(row.get("domain") or whole).strip() for _, row in rows],
            source=path,
            lines=[line for line, _ in rows],
        )


Rows: TypeAlias = Iterator[tuple[int, dict, str | None]]
"""Lines by number, what they hold, and why they cannot be read."""


def _json_lines(path: Path, text: str) -> Rows:
    for number, line in enumerate(text.split("\n"), 1):
        try:
            row, wrong = json.loads(line), "it is no JSON object"
        except (json.JSONDecodeError, RecursionError) as error:
            row, wrong = None, f"it is no JSON ({getattr(error, 'msg', 'too deep')})"
        yield (number, row, None) if isinstance(row, dict) else (number, {}, wrong)


def _table(path: Path, text: str) -> Rows:
    separator = separator_of(next(iter(text.splitlines()), ""))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header = [name.strip() for name in next(reader, [])]
    named_once(path, header)
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise ValueError(
            f"{path}: line 1 has the columns {', '.join(header)}, but needs {' and '.join(missing)}; name them "
            "text, label, and perhaps domain."
        )
    begin = reader.line_num + 1
    try:
        for fields in reader:
            wrong = f"{len(fields)} fields, but {len(header)} columns" if fields else "it is empty"
            good = len(fields) == len(header)
            yield begin, dict(zip(header, fields, strict=False)), None if good else wrong
            begin = reader.line_num + 1
    except csv.Error as error:  # a quote that does not end takes all lines after it
        yield begin, {}, f"its quotes do not match ({error})"


READERS = {".jsonl": _json_lines, ".csv": _table, ".tsv": _table}
"""Endings to functions of a file's path and text."""


def _reason(row: dict) -> str | None:
    """Why a row is no labelled sentence; None where it is one."""
    for name in COLUMNS:
        if name not in row:
            return f"column {name} is missing"
        if not isinstance(row[name], str) or not row[name].strip():
            return (
                f"{name} is empty"
                if row[name] in (None, "") or isinstance(row[name], str)
                else (f"{name}={row[name]!r} must be text")
            )
    domain = row.get("domain")
    if domain is not None and not isinstance(domain, str):
        return f"domain={domain!r} must be text"
    cut_off = [
        name for name in (*COLUMNS, "domain") if files.has_lone_surrogate(row.get(name) or "")
    ]
    return f"{cut_off[0]} has half of a character (a lone surrogate)" if cut_off else None
