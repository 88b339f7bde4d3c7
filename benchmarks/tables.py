"""Writes all pages of results, their pictures, and the tables in README.md and two pages of docs/.

python benchmarks/tables.py                     into docs/results/, README.md, reliability.md and security.md
python benchmarks/tables.py --folder elsewhere  pages alone, to compare

Everything comes from benchmarks/rows/ and the JSON files in benchmarks/results/.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import record
from rows import (
    cifar_fs,
    detection,
    fast,
    in_context,
    language,
    learned_optimizers,
    omniglot,
    padding,
    readme,
    recommendation,
    regret,
    reliability,
    security,
    sinusoid,
    speed,
    summaries,
    translation,
    truncation,
    without_derivatives,
)
from rows.table import GENERATED, Page

DOCS = record.HERE.parent / "docs" / "results"
WITH_TABLES: dict[Path, Mapping[str, Callable[[], str]]] = {
    record.HERE.parent / "README.md": readme.PARTS,
    DOCS.parent / "reliability.md": reliability.PARTS,
    DOCS.parent / "security.md": security.PARTS,
}
"""Pages that are written by hand but for parts between marks."""
PAGES: dict[str, Page] = {
    "sinusoid": sinusoid.PAGE,
    "omniglot": omniglot.PAGE,
    "cifar_fs": cifar_fs.PAGE,
    "vision": detection.PAGE,
    "in_context": in_context.PAGE,
    "regret": regret.PAGE,
    "recommendation": recommendation.PAGE,
    "language": language.PAGE,
    "summaries": summaries.PAGE,
    "translation": translation.PAGE,
    "truncation": truncation.PAGE,
    "learned_optimizers": learned_optimizers.PAGE,
    "without_derivatives": without_derivatives.PAGE,
    "padding": padding.PAGE,
    "fast": fast.PAGE,
    "speed": speed.PAGE,
}


def index() -> str:
    """A page that lists the others."""
    entries = [
        f"- [{page.title}]({name}.md): {', '.join(section.title for section in page.sections)}"
        for name, page in PAGES.items()
    ]
    intro = (
        "All numbers are written by one command from the files in `benchmarks/results/`, which hold settings, "
        "versions, commit, machine and date. A row that is declared and has no file is named below its table. "
        "Results without a version were measured before 0.2, and their settings have the names of that time."
    )
    return "\n\n".join(["# Results", GENERATED, intro, "\n".join(entries)]) + "\n"


def write(folder: Path, *, pictures: bool) -> None:
    """Writes every page into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(index())
    for name, page in PAGES.items():
        (folder / f"{name}.md").write_text(page.markdown())
        for section in page.sections if pictures else ():
            for file, draw in section.pictures().items():
                draw().savefig(folder / file, dpi=120)


def with_tables(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """A page with its generated parts as the result files have them."""
    for name, part in parts.items():
        begin, end = f"<!-- results: {name} -->", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{part()}\n{end}{rest.split(end)[1]}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="write the pages alone, without pictures, here")
    arguments = parser.parse_args()
    if arguments.folder:
        write(arguments.folder, pictures=False)
        return
    write(DOCS, pictures=True)
    for page, parts in WITH_TABLES.items():
        page.write_text(with_tables(page.read_text(), parts))


if __name__ == "__main__":
    main()
