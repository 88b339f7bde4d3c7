"""A web page of documents whose chosen sentences are marked."""

from collections.abc import Sequence
from html import escape

from metajax.recipes.language.summarize import Summary

_STYLE = """
body { font: 16px/1.5 Georgia, serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2rem; }
h3 { font-size: 0.9rem; font-weight: normal; color: #666; margin: 0.2rem 0; }
mark { background: #ffe08a; padding: 0.1em 0; } .after mark { background: #a8e6b0; }
.wanted { border-bottom: 2px solid #c0392b; }
blockquote { color: #555; border-left: 3px solid #ddd; margin: 0.6rem 0; padding-left: 0.8rem; }
@media (max-width: 48rem) { .pair { grid-template-columns: 1fr; } }
"""


def page(summaries: Sequence[Summary], labelled: int) -> str:
    """Returns a page in HTML, without anything from elsewhere.

    Args:
      summaries: As `summarize` returns them.
      labelled: The number of labelled documents.
    """
    parts = [_document(number, one, labelled) for number, one in enumerate(summaries, 1)]
    title = f"{len(summaries)} documents, before and after reading {labelled} labelled ones"
    note = (
        "Marked: the sentences that are chosen. Underlined in red: those that come closest to the summary "
        "that somebody wrote, where there is one."
    )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n<h1>{title}</h1>\n<p>{note}</p>\n"
        + "\n".join(parts)
        + "\n</html>\n"
    )


def _document(number: int, one: Summary, labelled: int) -> str:
    title = escape(one.document.title or f"Document {number}")
    sides = (
        _side("before", "Before", one, one.before),
        _side("after", f"After {labelled} labelled documents", one, one.after),
    )
    written = "".join(
        f"<blockquote>{escape(text)}</blockquote>\n" for text in one.document.summaries[:1]
    )
    return f'<h2>{title}</h2>\n<div class="pair">\n{"".join(sides)}</div>\n{written}'


def _side(name: str, heading: str, one: Summary, chosen: list[int]) -> str:
    texts = []
    for place, sentence in enumerate(one.document.sentences):
        text = escape(sentence)
        text = f"<mark>{text}</mark>" if place in chosen else text
        texts.append(f'<span class="wanted">{text}</span>' if place in one.wanted else text)
    return f'<div class="{name}"><h3>{heading}</h3>\n<p>{" ".join(texts)}</p></div>\n'
