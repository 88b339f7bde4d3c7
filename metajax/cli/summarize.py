"""`metajax summarize RUN --labelled FILE --documents FILE --out PAGE`: summaries in somebody's style."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from metajax import files
from metajax.cli.output import console, escape


@dataclass(frozen=True)
class Summarize:
    """Summarise documents in the style of a few labelled ones, with a run of `metajax train summaries`.

    Files have one JSON object a line: {"document": "...", "summary": "..."}, and "title" where there is one.
    """

    run: tyro.conf.Positional[Path]
    """The folder of the run."""
    labelled: Path
    """A file of documents with summaries, whose style is read."""
    documents: Path
    """A file of documents that are to be summarised."""
    out: Path = Path("summaries.html")
    """A web page of the documents with the chosen sentences marked, before and after adapting."""
    data: str | None = None
    """The folder of the data sets, if it has moved."""


def run(command: Summarize) -> bool:
    """Adapts to the labelled documents, prints the summaries, and writes the page."""
    from metajax.data.documents import read_documents
    from metajax.recipes.language.documents import cut, extract
    from metajax.recipes.language.summarize import summarize
    from metajax.recipes.language.summary_page import page
    from metajax.recipes.run import restore

    files.check_place(command.out)
    labelled, documents = read_documents(command.labelled), read_documents(command.documents)
    found = summarize(restore(command.run, data=command.data), labelled, documents)
    for note in (*cut("the labelled file", labelled), *cut("the file", documents)):
        console.print(f"{escape(note)}.")
    for number, one in enumerate(found, 1):
        title = one.document.title or f"Document {number}"
        console.print(f"[bold]{escape(title)}[/]\n{escape(extract(one.document, one.after))}")
    files.write_text(command.out, page(found, len(labelled)))
    console.print(f"The page is {escape(str(command.out))}.")
    return True
