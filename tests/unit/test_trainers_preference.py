"""Trainers on preferences and scorers as components: what they need, refuse and write."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from lineal.data.store import Rows
from lineal.engines.text.tokens import encode_pair, load_tokenizer
from lineal.errors import DataError, EngineError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of
from tests.unit.tiny_models import in_order, put_model, tiny_model, weights, words

SHORT = {"steps": 2, "batch_size": 8, "threads": 1}
PAIRS = [
    {
        "sample_id": f"s{index}",
        "prompt": f"{word}=",
        "chosen": in_order(word),
        "rejected": word,
        "lead": 0.5 * (index % 2),
    }
    for index, word in enumerate([word for word in words(24) if in_order(word) != word][:16])
]
LABELS = [
    {
        "sample_id": f"s{index}",
        "prompt": pair["prompt"],
        "completion": pair["chosen" if index % 2 else "rejected"],
        "label": index % 2 > 0,
    }
    for index, pair in enumerate(PAIRS)
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.mark.model
def test_dpo_reads_several_row_inputs_and_a_reference(lab: Lab, checkpoint: Path) -> None:
    init, other = put_model(lab, "start/checkpoint", checkpoint), put_model(lab, "start/other", checkpoint)
    halves = lab.put("round_01/actor_pairs", PAIRS[:8]), lab.put("round_01/judge_pairs", PAIRS[8:])
    settings = {"weight": "lead", "nll_weight": 1.0, **SHORT}
    inputs = {"rows": halves, "init": init, "reference": other}
    split = weights(lab.run("dpo", "round_01/checkpoint", inputs, **settings)[""].directory)
    assert lab.counts == {"in": 16}
    inputs = {
        "rows": lab.put("round_01/all", PAIRS),
        "init": init,
    }  # the reference is `init` where none is named
    whole = weights(lab.run("dpo", "round_01/checkpoint", inputs, **settings)[""].directory)
    assert weights(checkpoint) != split == whole


@pytest.mark.model
def test_kto_and_reward_model_write_checkpoints(lab: Lab, checkpoint: Path) -> None:
    init = put_model(lab, "start/checkpoint", checkpoint)
    made = lab.run(
        "kto", "round_01/kto", {"rows": lab.put("round_01/labelled", LABELS), "init": init}, **SHORT
    )[""]
    assert weights(made.directory) != weights(checkpoint)
    rewards = lab.run(
        "reward_model", "start/rewards", {"rows": lab.put("round_01/pairs", PAIRS), "init": init}, **SHORT
    )[""]
    assert "LlamaForSequenceClassification" in (rewards.directory / "config.json").read_text()


@pytest.mark.model
def test_weighted_sft_needs_and_uses_its_column(lab: Lab, checkpoint: Path) -> None:
    init = put_model(lab, "start/checkpoint", checkpoint)
    rows = lab.put(
        "round_01/filtered", [{**row, "importance": float(index)} for index, row in enumerate(LABELS)]
    )
    inputs = {"rows": rows, "init": init}
    plain = weights(lab.run("sft", "round_01/checkpoint", inputs, **SHORT)[""].directory)
    weighted = weights(
        lab.run("sft", "round_01/checkpoint", inputs, weight="importance", **SHORT)[""].directory
    )
    assert plain != weighted
    assert lab.parse("sft", inputs, weight="importance", **SHORT).needs() == {
        "rows": ("prompt", "completion", "importance")
    }


def test_weight_enters_the_identity_only_where_it_is_set(lab: Lab) -> None:
    inputs = {"rows": (), "init": ()}
    assert "weight" not in lab.parse("sft", inputs, steps=1).identity()
    assert lab.parse("dpo", inputs, steps=1, weight="lead").identity()["weight"] == "lead"


@pytest.mark.model
def test_margin_and_trainers_without_reference_are_components(lab: Lab, checkpoint: Path) -> None:
    inputs = {
        "rows": lab.put("round_01/pairs", PAIRS),
        "init": put_model(lab, "start/checkpoint", checkpoint),
    }
    made = {
        name: weights(lab.run(use, f"round_01/{name}", inputs, **settings, **SHORT)[""].directory)
        for name, use, settings in (
            ("dpo", "dpo", {}),
            ("margin", "dpo", {"margin": "lead"}),
            ("orpo", "orpo", {}),
            ("simpo", "simpo", {}),
            ("gamma", "simpo", {"gamma": 2.0}),
            ("open", "simpo", {"ends": False}),
        )
    }
    assert len({weights(checkpoint), *made.values()}) == 7
    assert lab.parse("dpo", inputs, margin="lead", **SHORT).needs() == {
        "rows": ("prompt", "chosen", "rejected", "lead")
    }
    for use in ("dpo", "reward_model"):
        assert "margin" not in lab.parse(use, inputs, **SHORT).identity()
    with pytest.raises(pydantic.ValidationError, match="margin works with the loss 'sigmoid' only"):
        lab.parse("dpo", inputs, margin="lead", loss="ipo", **SHORT)


@pytest.mark.model
def test_pairs_with_ids_are_learnt_as_they_were_sampled(lab: Lab, checkpoint: Path) -> None:
    tokenizer, init = load_tokenizer(checkpoint), put_model(lab, "start/checkpoint", checkpoint)

    def trained(name: str, end: bool, **changed: str) -> str:
        ids = {
            f"{side}_token_ids": [
                encode_pair(tokenizer, "", row[side], False)[1][: None if end else -1] for row in PAIRS
            ]
            for side in ("chosen", "rejected")
        }
        rows = [
            {**row, **{name: of[place] for name, of in ids.items()}, **changed}
            for place, row in enumerate(PAIRS)
        ]
        inputs = {"rows": lab.put(f"round_01/{name}", rows), "init": init}
        return weights(lab.run("dpo", "round_01/checkpoint", inputs, **SHORT)[""].directory)

    plain = lab.run(
        "dpo", "round_01/checkpoint", {"rows": lab.put("round_01/pairs", PAIRS), "init": init}, **SHORT
    )[""]
    assert weights(plain.directory) == trained("ended", True) != trained("open", False)
    with pytest.raises(EngineError, match="token_ids: with this model's tokenizer they say"):
        trained("other", True, chosen="zzz")


@pytest.mark.model
def test_scorers_add_a_score_to_every_row(lab: Lab, checkpoint: Path) -> None:
    init = put_model(lab, "start/checkpoint", checkpoint)
    rewards = lab.run(
        "reward_model", "start/rewards", {"rows": lab.put("round_01/pairs", PAIRS), "init": init}, **SHORT
    )[""]
    rows = lab.put("round_01/generated", LABELS)
    rewarded = lab.run("reward", "round_01/rewarded", {"rows": rows, "scorer": rewards})[""]
    likely = lab.run("likelihood", "round_01/likely", {"rows": rewarded, "scorer": init}, name="own")[""]
    assert set(Rows((likely,)).columns) == {
        "sample_id",
        "prompt",
        "completion",
        "label",
        "score",
        "own_score",
    }
    found = rows_of(likely)
    assert lab.counts == {"in": 16, "out": 16} and len({row["score"] for row in found}) > 8
    assert all(row["own_score"] < 0 for row in found)
    per_token = rows_of(
        lab.run("likelihood", "round_01/mean", {"rows": rows, "scorer": init}, per_token=True)[""]
    )
    lengths = [len(row["completion"]) + 1 for row in found]
    assert [row["score"] for row in per_token] == [
        row["own_score"] / length for row, length in zip(found, lengths, strict=True)
    ]
    ratio = rows_of(
        lab.run("likelihood", "round_01/ratio", {"rows": rows, "scorer": init, "reference": init})[""]
    )
    assert {row["score"] for row in ratio} == {0.0}


@pytest.mark.model
def test_scores_do_not_depend_on_how_rows_are_cut(tmp_path: Path, checkpoint: Path) -> None:
    found = []
    for size in (3, 4096):
        lab = Lab(tmp_path / str(size), Compute(workers=1, shard_rows=size))
        inputs = {
            "rows": lab.put("round_01/generated", LABELS),
            "scorer": put_model(lab, "start/checkpoint", checkpoint),
        }
        found.append(lab.run("likelihood", "round_01/likely", inputs)[""].digest)
    assert found[0] == found[1]


@pytest.mark.model
def test_scorer_of_the_wrong_kind_says_so(lab: Lab, checkpoint: Path) -> None:
    inputs = {
        "rows": lab.put("round_01/generated", LABELS),
        "scorer": put_model(lab, "start/checkpoint", checkpoint),
    }
    with pytest.raises(EngineError, match="expected a reward model"):
        lab.run("reward", "round_01/rewarded", inputs)


def test_scorer_refuses_rows_without_completion(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    rows = lab.put(
        "round_01/generated",
        [{"sample_id": "a", "prompt": "ba=", "completion": "ab"}, {"sample_id": "b", "prompt": "dc="}],
    )
    with pytest.raises(DataError, match="1 rows have no completion to score"):
        lab.run("reward", "round_01/rewarded", {"rows": rows, "scorer": rows})


def test_scorer_says_which_column_is_there_already(lab: Lab) -> None:
    component = lab.parse("reward", {"rows": (), "scorer": ()})
    with pytest.raises(ValueError, match="have a column 'score' already.*Set name: WORD"):
        component.outputs({"rows": ("prompt", "completion", "score")})


def test_kto_refuses_one_kind_of_label(lab: Lab) -> None:
    rows = lab.put("round_01/labelled", [row for row in LABELS if row["label"]])
    with pytest.raises(DataError, match="8 of 8 rows are desirable, expected some of both kinds"):
        lab.run("kto", "round_01/checkpoint", {"rows": rows, "init": rows}, **SHORT)


@pytest.mark.parametrize("worth", [float("nan"), float("inf"), "nan", "much"])
@pytest.mark.parametrize(
    ("use", "setting"), [("sft", "weight"), ("dpo", "weight"), ("dpo", "margin"), ("reward_model", "margin")]
)
def test_trainer_refuses_weights_and_margins_that_are_no_finite_numbers(
    lab: Lab, use: str, setting: str, worth: float | str
) -> None:
    usual = "1.5" if isinstance(worth, str) else 1.5  # a csv file has texts alone
    rows = lab.put(
        "round_01/pairs",
        [
            {**row, **PAIRS[index], "worth": worth if index == 2 else usual}
            for index, row in enumerate(LABELS)
        ],
    )
    message = rf"1 of 16 rows have no finite number in 'worth', the first of them \(row 3\) {worth!r}"
    with pytest.raises(DataError, match=message):
        lab.run(use, "round_01/checkpoint", {"rows": rows, "init": rows}, **{setting: "worth", **SHORT})


@pytest.mark.parametrize("use", ["dpo", "orpo", "reward_model"])
def test_pairs_with_equal_sides_are_left_out_counted_and_told(
    lab: Lab, checkpoint: Path, use: str, capsys: pytest.CaptureFixture[str]
) -> None:
    init = put_model(lab, "start/checkpoint", checkpoint)

    def trained(rows: list[dict[str, object]]) -> str:
        made = lab.run(
            use, "round_01/checkpoint", {"rows": lab.put("round_01/pairs", rows), "init": init}, **SHORT
        )[""]
        return weights(made.directory)

    without = trained(PAIRS)
    assert "equal" not in lab.counts
    assert trained([{**row, "rejected": row["chosen"]} for row in PAIRS[:3]] + PAIRS) == without
    assert (lab.counts["in"], lab.counts["equal"]) == (len(PAIRS) + 3, 3)
    assert f"3 of {len(PAIRS) + 3} pairs have equal sides; they are left out" in capsys.readouterr().err
    with pytest.raises(DataError, match="all 3 pairs have equal sides, which prefer nothing"):
        trained([{**row, "rejected": row["chosen"]} for row in PAIRS[:3]])


def test_trainer_refuses_gaps_and_no_rows(lab: Lab) -> None:
    gap = lab.put("round_01/pairs", [PAIRS[0], {**PAIRS[1], "lead": None}])
    with pytest.raises(DataError, match="1 of 2 rows have no 'lead'"):
        lab.run("dpo", "round_01/checkpoint", {"rows": gap, "init": gap}, weight="lead", **SHORT)


MISTAKES = [
    (
        "dpo",
        {"label_smoothing": 0.1},
        "label_smoothing above 0 and the losses robust, exo_pair need each other",
    ),
    ("dpo", {"loss": "robust"}, "need each other"),
    ("dpo", {"weight": "lead", "loss": "ipo"}, "weight works with the loss 'sigmoid' only"),
    ("dpo", {"loss": "sft"}, "Input should be 'sigmoid'"),
    ("dpo", {"beta": 0.0}, "greater than 0"),
    ("reward_model", {"epochs": 1.0}, "exactly one of steps and epochs"),
]


@pytest.mark.parametrize(("use", "settings", "message"), MISTAKES)
def test_setting_that_does_not_fit_is_refused(
    lab: Lab, use: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        lab.parse(use, {"rows": (), "init": ()}, **{"steps": 1, **settings})


def test_fake_engine_writes_stand_ins(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    rows = lab.put("round_01/pairs", PAIRS)
    first = lab.run("dpo", "round_01/checkpoint", {"rows": rows, "init": rows}, steps=1, warmup=0.0)[""]
    second = lab.run("reward_model", "round_01/rewards", {"rows": rows, "init": rows}, steps=1, warmup=0.0)[
        ""
    ]
    assert first.digest != second.digest
    scored = lab.run(
        "likelihood", "round_01/likely", {"rows": lab.put("round_01/samples", LABELS), "scorer": first}
    )[""]
    assert [row["score"] for row in rows_of(scored)] == [-float(len(row["completion"]) + 1) for row in LABELS]
