"""Runs one step: opens and verifies inputs, reuses equal work, runs the component, checks, publishes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lineal.components.base import Component, Role, misfit
from lineal.components.trainers.base import Trainer
from lineal.data.digests import Digests
from lineal.data.ids import digest_of
from lineal.data.links import link_directory
from lineal.data.manifest import MADE_UP, MANIFEST, Manifest, content_digest, lock_of, verify_files
from lineal.data.progress import say
from lineal.data.store import Artifact, open_artifact
from lineal.data.workspace import Workspace, open_partial, step_lock
from lineal.engines.arithmetic import arithmetic
from lineal.errors import ArtifactError, CheckFailure, DataError, DeclarationError, LinealError, ProjectError
from lineal.plan import Plan, Step, artifact_key
from lineal.step.checks import require_blocking, run_checks
from lineal.step.files import require_files
from lineal.step.identity import Identity, identify, made_by, read_value
from lineal.step.launch import launch
from lineal.step.resources import take_gpus
from lineal.step.retraction import retracted_inputs, retracted_output
from lineal.step.runlog import RunLog, progress_path
from lineal.step.source import source_digest
from lineal.step.stopped_run import StandIn, stand_in
from lineal.step.unseen import require_no_test_prompt
from lineal.step.waiting import require_arrived

ELSEWHERE = (MADE_UP, "openai")
"""What makes rows without computing here."""


def run_step(plan: Plan, key: str, expected_component: str | None = None) -> str:
    """Makes one step's artifacts.

    Args:
        plan: the plan that holds it.
        key: the step's key.
        expected_component: `NAME@VERSION` as `dvc.yaml` has it; a difference means that it is stale.

    Returns:
        'done' when it ran, 'reused' when equal work was there already.

    Raises:
        LinealError: with a message for the person; nothing is half-written.
    """
    step = plan.step(key)
    _require_fresh(step, expected_component)
    target = plan.project.directory(step.key)
    log = RunLog(plan.project, step.key)
    with step_lock(lock_of(target), step.key):
        try:
            status, facts = _make(plan, step)
            clear_partial(plan, step)
        except LinealError as error:
            name_step(step, error)
            check = error.check if isinstance(error, CheckFailure) else None
            log.write("failed", error=str(error), check=check)
            raise
        except KeyboardInterrupt:
            log.write("interrupted")
            raise
        except OSError as error:
            log.write("failed", error=str(error), check=None)
            raise ArtifactError(
                f"{step.key}: {error}. Finished shards are kept; fix this and rerun"
            ) from error
        except BaseException as error:
            log.write("failed", error=f"{type(error).__name__}: {error}", check=None)
            raise
        log.write(status, source_digest=source_digest(step.component), **facts)
    return status


def name_step(step: Step, error: LinealError) -> None:
    """Adds the step's name to an error: messages of components name no pipeline, since manifests and seeds don't either."""
    said = str(error)
    if step.key in said:
        return
    if isinstance(error, DeclarationError):  # begins with file, line and key
        error.args = (f"{said} (in {step.key})",)
    else:
        error.args = (
            f"{step.pipeline}/{said}" if said.startswith(f"{step.name}:") else f"{step.key}: {said}",
        )


def _require_fresh(step: Step, expected: str | None) -> None:
    actual = stage_tag(step)
    if expected is not None and expected != actual:
        raise ProjectError(
            f"dvc.yaml is stale: it runs {step.key} as {expected}, the plan as {actual}. Run: lineal plan --write"
        )


def component_tag(component: Component) -> str:
    """Returns `sample@1`: `dvc.yaml` holds it so that a new version makes a stage stale."""
    return f"{component.use}@{component.version}"


def stage_tag(step: Step) -> str:
    """Returns the component's tag with a digest of what else decides its bytes and is in no file: `select@1+5f3c9a01`.

    That is the retractions in force, and the version of another's package. They are in the stage's command, since DVC calls a
    stage stale whose command changed, but not one that no longer names a param: a retraction taken back would stay.
    """
    package = step.component.code_package()
    deciding = [*(rule.identity() for rule in step.retractions), *([package] if package else [])]
    return (
        f"{component_tag(step.component)}+{digest_of(deciding)[:8]}"
        if deciding
        else component_tag(step.component)
    )


def _make(plan: Plan, step: Step) -> tuple[str, dict[str, Any]]:
    standing = stand_in(plan, step)
    if standing is not None:
        _stand(plan, step, standing)
        return "reused", {"reused_from": standing.sources[""][0], "facts": {"stopped": standing.why}}
    require_arrived(step)
    require_files(plan, step)
    inputs = open_inputs(plan, step, verify=True)
    require_no_test_prompt(plan, step, inputs)
    component = resolved(plan, step)
    identity = identify(step, component, plan.seed_of(step), inputs)
    retracted = retracted_inputs(plan, step)
    twin = _twin(plan, step, identity)
    if twin is not None:
        return "reused", {"reused_from": twin, "identity": identity.digest}
    open_partial(partial_of(plan, step), _saved_work(plan, identity, component))
    workspace = workspace_of(plan, step, identity, inputs)
    workspace.retracted = retracted
    progress = progress_path(plan.project, step.key)
    progress.parent.mkdir(parents=True, exist_ok=True)
    progress.unlink(missing_ok=True)
    gpus = take_gpus(plan, step, lambda line: say(line, progress))
    if gpus:
        workspace.facts["gpus"] = gpus
    _run(plan, step, component, identity, workspace)
    _publish(plan, step, identity, workspace)
    return "done", {"facts": workspace.facts, "identity": identity.digest}


def _saved_work(plan: Plan, identity: Identity, component: Component) -> str:
    """Identifies the owner of saved work; work that an engine made up is continued by no other."""
    saved = identity.of_saved_work(component.rereads)
    return f"{MADE_UP} {saved}" if plan.project.params.compute.engine == MADE_UP else saved


def clear_partial(plan: Plan, step: Step) -> None:
    """Removes a finished step's partial work, also what a process left that was killed after its artifact was in place.

    Paid answers of servers stay: other settings of the same step may read them again.
    """
    partial = partial_of(plan, step)
    if not partial.exists():
        return
    directory = plan.project.directory(step.key)
    if step.component.rereads and open_artifact(step.key, directory).manifest.equal_bytes is False:
        shutil.rmtree(partial / "out", ignore_errors=True)
    else:
        shutil.rmtree(partial)


def partial_of(plan: Plan, step: Step) -> Path:
    """Returns the directory of a step's unfinished work."""
    target = plan.project.directory(step.key)
    return target.with_name(f".{target.name}.partial")


def workspace_of(
    plan: Plan, step: Step, identity: Identity, inputs: Mapping[str, tuple[Artifact, ...]]
) -> Workspace:
    """Makes the workspace of the step's component."""
    return Workspace(
        project=plan.project.root,
        step=step.name,
        round=step.round,
        seed=identity.seed,
        compute=plan.project.params.compute,
        inputs=inputs,
        partial=partial_of(plan, step),
        key=step.key,
        progress_file=progress_path(plan.project, step.key),
    )


def _run(plan: Plan, step: Step, component: Component, identity: Identity, workspace: Workspace) -> None:
    """Runs the component; reruns a selection without the retracted rows of its result, until it gives none."""
    if isinstance(component, Trainer) and component.has_nothing_to_learn(workspace):
        component.keep_init(workspace)
        return
    if isinstance(component, Trainer) and component.shares_training and workspace.compute.shared:
        launch(workspace, component)
        return
    component.run(workspace)
    while step.component.role is Role.SELECTOR:
        draft = workspace.draft(
            "", _manifests(identity, workspace, step.component.loads_model), step.outputs[""].kind
        )
        retracted = retracted_output(plan, step, Artifact(step.key, workspace.directory(), draft))
        if not retracted:
            return
        workspace.retracted = {**workspace.retracted, **retracted}
        workspace.counts.clear()
        component.run(workspace)


def open_inputs(plan: Plan, step: Step, verify: bool) -> dict[str, tuple[Artifact, ...]]:
    """Opens a step's inputs by field; `verify` reads every byte of their files and records the digests for later readers."""
    opened: dict[str, Artifact] = {}
    digests = Digests(plan.project.runs, fresh=True)
    for key in step.all_inputs():
        opened[key] = open_artifact(key, plan.project.directory(key))
        if verify:
            verify_files(opened[key].directory, opened[key].manifest, key, digests)
    digests.save()
    return by_field(step, opened)


def by_field(step: Step, opened: Mapping[str, Artifact]) -> dict[str, tuple[Artifact, ...]]:
    """Groups a step's inputs by field, from artifacts by key."""
    return {field: _once(keys, opened) for field, keys in step.inputs.items()}


def _once(keys: tuple[str, ...], opened: Mapping[str, Artifact]) -> tuple[Artifact, ...]:
    """Returns a field's artifacts without those that only stand in for another one of them in a stopped run."""
    made = {key: f"{key.partition('/')[0]}/{made_by(opened[key])}" for key in keys}
    own = {key for key in keys if made[key] == key}
    return tuple(opened[key] for key in keys if key in own or made[key] not in own)


def _stand(plan: Plan, step: Step, standing: StandIn) -> None:
    """Links a step's stand-in into place, the main output last."""
    for output in sorted(standing.sources, reverse=True):
        key, digest = standing.sources[output]
        source = open_artifact(key, plan.project.directory(key))
        verify_files(source.directory, source.manifest, key)
        if source.digest != digest:
            fix = f"Make the decision again: lineal run {step.stopped_by}"
            raise ArtifactError(
                f"{step.key}: {key} is not what {step.stopped_by} chose ({source.digest[:12]}, not {digest[:12]}). {fix}"
            )
        link_directory(source.directory, plan.project.directory(artifact_key(step.key, output)))


def resolved(plan: Plan, step: Step, opened: Mapping[str, Artifact] | None = None) -> Component:
    """Fills in every setting that a controller gives the step's component; `opened`: its inputs, else those on disk."""
    values = {
        setting: read_value(opened[key] if opened else open_artifact(key, plan.project.directory(key)), part)
        for setting, (key, part) in step.settings_from.items()
    }
    try:
        return step.component.resolved(values) if values else step.component
    except ValidationError as error:
        setting, why = misfit(error, values)
        key, part = step.settings_from[setting]
        got = f"{setting} takes {values[setting]!r} from {key}.{part}"
        fix = "Keep the controller's values in that range"
        raise DataError(f"{step.key}: {got}: {why}. {fix}") from error


def _publish(plan: Plan, step: Step, identity: Identity, workspace: Workspace) -> None:
    """Checks the main output where it lies, then renames all outputs into place, the main one last."""
    manifests = _manifests(identity, workspace, step.component.loads_model)
    drafts = {output: workspace.draft(output, manifests, made.kind) for output, made in step.outputs.items()}
    artifacts = {
        output: Artifact(artifact_key(step.key, output), workspace.directory(output), draft)
        for output, draft in drafts.items()
    }
    require_blocking(run_checks(plan, step, artifacts))
    for output in sorted(drafts, reverse=True):
        workspace.publish(drafts[output], plan.project.directory(artifact_key(step.key, output)))


def _manifests(identity: Identity, workspace: Workspace, loads_model: bool) -> Callable[..., Manifest]:
    """Makes the manifests of a step's outputs, given what each has of its own."""
    computed = (
        arithmetic(workspace.compute.device) if loads_model and workspace.made_with not in ELSEWHERE else None
    )

    def manifest(**parts: Any) -> Manifest:
        return Manifest(
            step=identity.step,
            component=identity.component,
            version=identity.version,
            identity=identity.digest,
            settings=identity.settings,
            seed=identity.seed,
            made_with=workspace.made_with,
            equal_bytes=workspace.equal_bytes,
            arithmetic=computed,
            inputs=identity.inputs,
            files_read=identity.files_read,
            settings_from=identity.settings_from,
            counts=dict(sorted(workspace.counts.items())),
            **parts,
        )

    return manifest


def _twin(plan: Plan, step: Step, identity: Identity) -> str | None:
    """Links an artifact of equal identity (this one, or another pipeline's) into place and returns its key."""
    artifacts, fake = plan.project.artifacts, plan.project.params.compute.engine == MADE_UP
    for path in sorted(artifacts.glob(f"*/{step.name}/{MANIFEST}")):
        pipeline = path.relative_to(artifacts).parts[0]
        sources = {output: artifacts / pipeline / artifact_key(step.name, output) for output in step.outputs}
        if all(_is_whole(source, identity, fake) for source in sources.values()):
            if pipeline != step.pipeline:
                for output, source in sources.items():
                    link_directory(source, plan.project.directory(artifact_key(step.key, output)))
            return f"{pipeline}/{step.name}"
    return None


def _is_whole(directory: Path, identity: Identity, fake: bool) -> bool:
    """Tells whether an artifact has this identity and the bytes of its manifest, and is not made up (unless `fake`)."""
    try:
        artifact = open_artifact(str(directory), directory)
        if not identity.is_of(artifact.manifest) or (artifact.manifest.made_up and not fake):
            return False
        verify_files(directory, artifact.manifest, str(directory))
        return artifact.digest == content_digest(artifact.manifest.files)
    except ArtifactError:
        return False
