"""Names of an artifact's JSON files beside its manifest: an evaluation's results and a controller's values."""

from __future__ import annotations

METRICS_FILE = "metrics.json"
"""Numbers by name, and the interval of the headline as `low` and `high`: what `dvc metrics show` prints."""
CURVE_FILE = "curve.json"
"""The same numbers as a list of one point, which is what DVC draws curves from."""
DETAILS_FILE = "details.json"
"""The headline's name, every figure's interval, and the numbers by difficulty."""
PROMPTS_FILE = "prompts.json"
"""By prompt id, a value of which the headline is the mean: what two evaluations of the same prompts are compared by."""
SETTINGS_FILE = "settings.json"
"""The values that a controller gives, by name."""
