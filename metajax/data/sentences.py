"""Labelled sentences in domains: what a data set or a file of them holds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple


class Sentences(NamedTuple):
    """Sentences with their labels, and the domain of each.

    name: Of the data set, or of the file.
    texts, labels, domains: One string for each sentence.
    outside: Sentences that have none of the labels.
    source: The file, and `lines`, the line of each sentence, for messages; None where they are no file's.
    """

    name: str
    texts: list[str]
    labels: list[str]
    domains: list[str]
    outside: Sequence[str] = ()
    source: Path | None = None
    lines: list[int] | None = None

    def of(self, domains: Iterable[str]) -> "Sentences":
        """Those of some domains."""
        chosen = set(domains)
        return self.at([i for i, domain in enumerate(self.domains) if domain in chosen])

    def at(self, rows: Sequence[int]) -> "Sentences":
        """Those at some places."""
        texts, labels, domains = (
            [part[i] for i in rows] for part in (self.texts, self.labels, self.domains)
        )
        lines = None if self.lines is None else [self.lines[i] for i in rows]
        return self._replace(texts=texts, labels=labels, domains=domains, lines=lines)

    def where(self, index: int) -> str:
        """Names a sentence: its file and line, or its text."""
        if self.source is None or self.lines is None:
            return f"{self.name}: {self.texts[index][:60]!r}"
        return f"{self.source}: line {self.lines[index]}"

    def classes(self) -> list[tuple[str, str]]:
        """The domain and the label of each sentence, which are its class."""
        return list(zip(self.domains, self.labels, strict=True))

    def with_enough(
        self,
        where: str,
        way: int,
        least: int,
        name: str = "way",
        lower: str = "--shot or --query-shot",
    ) -> "Sentences":
        """Checks that each class has `least` sentences and each domain `way` classes.

        Args:
          where: The first word of the message.
          way, least: The least numbers.
          name: The setting that `way` is of, and `lower`, those that `least` is of, for the message.

        Raises:
          ValueError: Naming the first class or domain that has not, and the line where it begins.
        """
        count = Counter(self.classes())
        for (domain, label), number in count.items():
            if number < least:
                first = self.classes().index((domain, label))
                raise ValueError(
                    f"{where}: {self.where(first)}: label {label!r} of domain {domain!r} has {number} "
                    f"sentence(s), but a task needs {least}. Add sentences, or lower {lower}."
                )
        of_domain = Counter(domain for domain, _ in count)
        for domain, number in of_domain.items():
            if number < way:
                flag = f"--{name.replace('_', '-')}"
                advice = f"use {flag} {number} or less" if number > 1 else "leave that domain out"
                raise ValueError(
                    f"{where}: {self.source or self.name}: domain {domain!r} has {number} label(s), but "
                    f"{name}={way}. Add labels, or {advice}."
                )
        return self
