"""`retrieve`: rows joined with the documents that share most words with them, found by BM25."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import PrivateAttr

from lineal.components.base import Columns, RowsRef, Surroundings, Workspace, merged, missing_package
from lineal.components.generators.render import Render
from lineal.components.generators.template import Template, read_template, template_files
from lineal.components.verifiers.base import written
from lineal.data.schema import row_key
from lineal.errors import DataError
from lineal.recipe.compute import Positive

if TYPE_CHECKING:
    from lineal.data.store import Rows

FOUND = "found"
"""The name of the documents' texts in the templates."""
_WORD = re.compile(r"\w+")


class Retrieve(Render):
    """Makes one new row of each row, as `render` does; `{found}` in its templates is the text of the documents found for the row.

    The score is BM25 in Lucene's form, with k1 = 1.5 and b = 0.75 (arXiv:2407.03618), over words without case; of equal scores
    the earlier document comes first. A row never finds itself, nor a document that shares no word with it; rows that find
    nothing get an empty text and are counted as `without_match`. The documents are parents of the new row too.

    Attributes:
        rows: what to find documents for.
        documents: where to look: any rows, a task set's too.
        count: the most documents for each row.
        query: a template of the row: what to look for.
        document: a template of the document: what is looked through, and what stands in `{found}`.
        separator: what stands between two documents in `{found}`.

    Every other setting is a column and its template: `prompt: "{found}\\n\\nQuestion: {prompt}"`.
    """

    documents: RowsRef
    count: Positive = 1
    query: str = "{prompt}"
    document: str = "{prompt}"
    separator: str = "\n\n"
    _query: Template = PrivateAttr()
    _document: Template = PrivateAttr()
    _index: _Index = PrivateAttr()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component, its templates read.

        Raises:
            ValueError: a template is missing or wrong, or none uses `{found}`.
            DeclarationError: a template's file cannot be read.
        """
        made = super().parse(settings, surroundings)
        made._query, made._document = (
            read_template(text, surroundings) for text in (made.query, made.document)
        )
        if not any(FOUND in template.columns for template in made._templates.values()):
            raise ValueError(
                "retrieve: no template uses {found}. Write prompt: '{found} {prompt}', or context: '{found}'"
            )
        return made

    def lacks(self) -> list[str]:
        return missing_package("bm25s", "bm25s", "retrieve")

    def files(self) -> dict[str, Path]:
        """Returns the templates' files, if they are in any."""
        own = {
            name: path
            for template in (self._query, self._document)
            for name, path in template_files(template).items()
        }
        return {**super().files(), **own}

    def needs(self) -> dict[str, Columns]:
        """Returns the columns that the templates fill in."""
        rows = tuple(name for name in super().needs()["rows"] if name != FOUND)
        return {"rows": merged(rows, self._query.columns), "documents": self._document.columns}

    def run(self, workspace: Workspace) -> None:
        """Indexes the documents, then goes through the rows shard by shard."""
        if FOUND in workspace.rows("rows").columns:
            raise DataError(
                f"{workspace.step}: the rows have a column {FOUND!r}, which retrieve's templates need. Rename it"
            )
        self._index = _Index(workspace, workspace.rows("documents"), self._document)
        super().run(workspace)
        parents = written(workspace, ["parents"])["parents"].to_pylist()
        workspace.counts["without_match"] = sum(len(each) == 1 for each in parents)

    def _row(self, workspace: Workspace, row: Mapping[str, Any], key: str) -> dict[str, Any]:
        ids, texts = self._index.best(self._query.render(row), self.count, {row[key], row.get("prompt_id")})
        made = super()._row(workspace, {**row, FOUND: self.separator.join(texts)}, key)
        return {**made, "parents": [*made["parents"], *ids]}


class _Index:
    """An index of the documents."""

    def __init__(self, workspace: Workspace, documents: Rows, template: Template) -> None:
        from bm25s import BM25

        key = row_key(documents.columns)
        rows = documents.read(
            [name for name in documents.columns if name in {key, *template.columns}]
        ).to_pylist()
        if not rows:
            raise DataError(f"{workspace.step}: there are no documents to look through")
        self._ids = [str(row[key]) for row in rows]
        self._texts = [template.render(row) for row in rows]
        self._scorer = BM25(k1=1.5, b=0.75, method="lucene", backend="numpy")
        with workspace.progress(len(rows), "documents") as progress:
            self._scorer.index([_words(text) for text in self._texts], show_progress=False)
            progress.advance(len(rows))

    def best(self, query: str, count: int, without: set[Any]) -> tuple[list[str], list[str]]:
        """Returns ids and texts of the documents that match a query best."""
        import numpy as np

        words = [word for word in dict.fromkeys(_words(query)) if word in self._scorer.vocab_dict]
        scores: Sequence[float] = self._scorer.get_scores(words) if words else []
        order = np.argsort(-np.asarray(scores), kind="stable")
        fitting = (place for place in order if scores[place] > 0 and self._ids[place] not in without)
        found = list(islice(fitting, count))
        return [self._ids[place] for place in found], [self._texts[place] for place in found]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
