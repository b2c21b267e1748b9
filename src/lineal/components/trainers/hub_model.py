"""`hub_model`: a checkpoint from the Hugging Face hub, pinned to a commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import StringConstraints

from lineal.components.base import Columns, Component, Output, Role, Workspace
from lineal.components.trainers.checkpoint_files import PATTERNS, require_whole
from lineal.engines.models.checkpoints import require_sound
from lineal.errors import EngineError
from lineal.recipe.references import ArtifactKind

CommitSha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class HubModel(Component):
    """Downloads a checkpoint.

    Attributes:
        id: `organisation/name`.
        revision: the commit's full SHA; a branch's name would mean other bytes tomorrow.
    """

    role: ClassVar[Role] = Role.MODEL
    seeded: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    id: str
    revision: CommitSha

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.MODEL, head=None)}

    def run(self, workspace: Workspace) -> None:
        """Downloads safetensors, configuration and tokenizer; nothing pickled, no code."""
        import shutil

        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        target = workspace.directory()
        try:
            snapshot_download(
                self.id, revision=self.revision, local_dir=target, allow_patterns=list(PATTERNS)
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            fix = "Check id, revision and network, or use a local copy: {use: model, path: ...}"
            raise EngineError(
                f"{workspace.step}: cannot download {self.id} at {self.revision[:12]} ({error}). {fix}"
            ) from error
        shutil.rmtree(target / ".cache", ignore_errors=True)
        require_whole(target)
        require_sound(target)
