"""Checks that the reward of an online training still means what its probes measure, by trends over optimizer steps.

A policy that learns to please its reward raises it while the truth falls. Each probe is tested for a fall over the whole training
and over its later half, since one that rose first and fell then has no trend in all; half of the level goes to each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lineal.components.trainers.rollout_means import STEP, step_means
from lineal.data.store import Artifact, Rows
from lineal.data.trends import FEWEST, Trend, trend_of
from lineal.plan import Step, artifact_key
from lineal.step.check_result import CheckResult

LEVEL = 0.01
"""How often a probe without any trend is reported to fall."""
REWARD_FALLS = 0.05
"""Up to this p-value the reward falls too, and the two don't diverge."""
SCORE = "score"


def reward_held(step: Step, artifacts: Mapping[str, Artifact]) -> CheckResult:
    """Checks a training's rollouts; warns of a probe that falls while the reward does not."""
    found: dict[str, float] = {}
    said = []
    for output, probes in step.component.probed().items():
        means = step_means(Rows((artifacts[output],)).read([STEP, SCORE, *probes]), [SCORE, *probes])
        known = means.whole()
        for probe in probes:
            falls, text = (
                parted(known[SCORE], known[probe], means.steps)
                if {SCORE, probe} <= known.keys()
                else (1.0, _UNKNOWN)
            )
            found[probe] = falls
            said.append(f"{artifact_key(step.key, output)}: {probe} {text}")
    return CheckResult(
        "reward_held", min(found.values(), default=1.0) >= LEVEL, "; ".join(said), {"p_values": found}
    )


_UNKNOWN = "or the reward has no value at some step, so that no trend can be told"


def parted(reward: Sequence[float], probe: Sequence[float], steps: Sequence[int]) -> tuple[float, str]:
    """Returns the p-value of the probe's fall where the reward does not fall, and the message."""
    if len(steps) < FEWEST:
        return 1.0, f"has {len(steps)} generations, too few for a trend"
    half = len(steps) // 2
    looks = [_look(reward[start:], probe[start:]) for start in (0, half)]
    falls = min(1.0, len(looks) * min(looks))
    best = max(range(len(steps)), key=lambda place: (probe[place], -place))
    told = f"{probe[0]:.3g} -> {probe[-1]:.3g}, best {probe[best]:.3g} at optimizer step {steps[best]}"
    rewarded = f"reward {reward[0]:.3g} -> {reward[-1]:.3g}"
    if falls < LEVEL:
        return (
            falls,
            f"falls and the reward does not (p = {falls:.2g}): {told}; {rewarded}. keep_best keeps the best step",
        )
    return falls, f"does not fall against the reward (p = {falls:.2g}): {told}; {rewarded}"


def _look(reward: Sequence[float], probe: Sequence[float]) -> float:
    trends: tuple[Trend, Trend] = trend_of(reward), trend_of(probe)
    return 1.0 if trends[0].falls < REWARD_FALLS else trends[1].falls
