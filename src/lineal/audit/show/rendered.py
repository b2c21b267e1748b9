"""The exact input that a model got for a row: its tokens as text, with control tokens marked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.audit.catalog import Catalog
from lineal.audit.media import pictures_of
from lineal.audit.query import Row
from lineal.audit.terminal import printable
from lineal.data.conversations import Prompt, prompt_of
from lineal.data.media import IMAGES
from lineal.data.schema import row_key
from lineal.data.store import Artifact
from lineal.errors import UsageError
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from lineal.engines.models.sight import Sight

OPEN, CLOSE = "⟦", "⟧"


@dataclass(frozen=True)
class Rendered:
    """A row's prompt as its model read it.

    Attributes:
        row: the row's id.
        model: the key of the checkpoint that drew the row's completion.
        tokens: how many tokens the prompt has, those in place of its pictures included.
        text: these tokens; each control token between `OPEN` and `CLOSE`.
        hinted: whether the model was given a hint besides, which the row does not keep.
    """

    row: str
    model: str
    tokens: int
    text: str
    hinted: bool

    def as_json(self) -> dict[str, Any]:
        """Returns the prompt for programs."""
        return dict(vars(self))

    def as_text(self) -> str:
        """Formats the prompt for a terminal."""
        hint = ", without the hint that it was given besides" if self.hinted else ""
        head = f"{self.row}  {self.tokens:,} tokens, read by {self.model}{hint}"
        return "\n".join([head, *(f"  {printable(line)}" for line in self.text.split("\n"))])


def rendered(catalog: Catalog, artifact: Artifact, rows: Iterable[Row]) -> list[Rendered]:
    """Renders the inputs of the models that sampled these rows of an artifact.

    Raises:
        UsageError: the rows are no samples, or their checkpoint is not here or is only served.
        EngineError: its tokenizer cannot be loaded, or its chat template refuses a row.
    """
    from lineal.engines.text.tokens import encode_prompt

    @cache
    def reader(digest: str) -> tuple[Artifact, PreTrainedTokenizerBase, bool]:
        from lineal.engines.text.tokens import load_tokenizer

        model = _checkpoint(catalog, artifact, digest)
        return model, load_tokenizer(model.directory), _is_chat(catalog, artifact, digest)

    @cache
    def sight(checkpoint: Path) -> Sight:
        from lineal.engines.models.sight import Sight

        return Sight(checkpoint, pictures_of(catalog, artifact))

    found = []
    for row in rows:
        model, tokenizer, chat = reader(_digest(artifact, row))
        ids = encode_prompt(tokenizer, _given(row), chat)
        if row.get(IMAGES):
            ids = sight(model.directory).placed(_given(row), ids, tuple(row[IMAGES]), chat)
        asked = row.get("asked") is not None
        found.append(
            Rendered(
                str(row[row_key(list(row))]),
                model.key,
                len(ids),
                _spelled(tokenizer, ids),
                bool(row.get("hinted")) and not asked,
            )
        )
    return found


def _given(row: Row) -> Prompt:
    return str(row["asked"]) if row.get("asked") is not None else prompt_of(row)


def _digest(artifact: Artifact, row: Row) -> str:
    digest = row.get("checkpoint")
    if digest is None:
        raise UsageError(
            f"{artifact.key}: --rendered shows what a model was given, and these rows were not drawn by one (they name no "
            "checkpoint). Show samples instead, such as those of the step that uses these rows"
        )
    return str(digest)


def _checkpoint(catalog: Catalog, artifact: Artifact, digest: str) -> Artifact:
    model = catalog.with_digest(digest, artifact.key)
    if model is None:
        raise UsageError(
            f"{artifact.key}: its rows were drawn by the checkpoint {digest[:12]}, which is not here. Bring it: dvc pull, or "
            "make it again: lineal run"
        )
    if model.manifest.kind is ArtifactKind.SERVED:
        raise UsageError(
            f"{artifact.key}: its rows were drawn by {model.key}, behind an endpoint, which renders prompts itself"
        )
    return model


def _is_chat(catalog: Catalog, artifact: Artifact, digest: str) -> bool:
    """Tells whether the step that sampled the rows applied the chat template."""
    for made in catalog.upstream(artifact):
        inputs = [entry.digest for entries in made.manifest.inputs.values() for entry in entries]
        if "chat" in made.manifest.settings and digest in inputs:
            return bool(made.manifest.settings["chat"])
    return False


def _spelled(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    special, text, parts = set(tokenizer.all_special_ids), list[int](), list[str]()
    for token in [*ids, None]:
        if token is not None and token not in special:
            text.append(token)
            continue
        if text:
            parts.append(str(tokenizer.decode(text, clean_up_tokenization_spaces=False)))
            text = []
        if token is not None:
            parts.append(f"{OPEN}{tokenizer.convert_ids_to_tokens([token])[0]}{CLOSE}")
    return "".join(parts)
