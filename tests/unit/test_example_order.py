"""`order` and `pace` of supervised trainers: refusals, identities without them as before, and the order itself."""

import pydantic
import pytest

from lineal.engines.training.settings import Pace
from lineal.errors import DataError
from tests.unit.lab import Lab, samples


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def sft(lab, **settings):
    return lab.parse("sft", {"rows": (), "init": ()}, **{"steps": 4, **settings})


def test_order_is_identity_only_where_it_is_set(lab):
    assert not {"order", "pace"} & sft(lab).identity().keys()
    paced = sft(lab, order="difficulty", pace={"full": 0.8})
    assert paced.identity()["order"] == "difficulty" and paced.identity()["pace"] == {
        "start": 0.1,
        "full": 0.8,
    }
    assert "difficulty" in paced.needs()["rows"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pace": {}}, "pace needs order"),
        ({"order": "difficulty", "pace": {}, "steps": None, "epochs": 1}, "steps in place of epochs"),
        ({"order": "difficulty", "packing": True}, "packing and order exclude each other"),
        ({"order": "difficulty", "pace": {"start": 0}}, "greater than 0"),
    ],
)
def test_order_that_cannot_be_is_refused(lab, settings, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        sft(lab, **settings)


def test_examples_stand_in_the_order_of_the_column(lab):
    table = samples({"a": "ppp", "b": "p", "c": "pp"})
    component, rows = sft(lab, order="difficulty"), lab.put("round_01/rows", table)
    step = lab._workspace("round_01/checkpoint", {"rows": (rows,)})
    prompts = [example.prompt for example in component._examples(step)]
    assert prompts == ["b=", "c=", "c=", "a=", "a=", "a="]
    assert component.training_settings(step).in_order and not sft(lab).training_settings(step).in_order
    broken = lab.put("round_01/broken", [*table, {**table[0], "difficulty": float("nan")}])
    with pytest.raises(DataError, match="no finite number in 'difficulty'"):
        component._examples(lab._workspace("round_01/checkpoint", {"rows": (broken,)}))


def test_pace_grows_to_all_examples():
    shares = [Pace(0.1, 0.5).share(step, 100) for step in (0, 25, 50, 99)]
    assert shares == pytest.approx([0.1, (0.5 * 0.99 + 0.01) ** 0.5, 1.0, 1.0])
