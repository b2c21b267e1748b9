"""The waves in which the trees of many prompts grow together, so that the engine is full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lineal.components.base import Columns, Workspace, merged
from lineal.components.generators.drawing import begun, sampled_columns
from lineal.components.generators.search_tree import SearchNode, SearchPolicy, Tree
from lineal.components.verifiers.base import FAIL, PASS, AddsColumns
from lineal.data.conversations import Prompt, prompt_of
from lineal.data.ids import digest_of, row_id, row_seed
from lineal.data.progress import progress_of
from lineal.data.schema import arrow_type, row_key
from lineal.data.steps import is_open
from lineal.engines.sampling.sampler import Completion, Request, SamplingSettings
from lineal.engines.sampling.saved_completions import SavedSampler

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.components.generators.tree_search import TreeSearch
    from lineal.data.progress import Progress

TREE_COLUMNS: Columns = (
    "depth",
    "prefix",
    "prior",
    "visits",
    "value",
    "score",
    "terminal",
    "best",
    "verdict",
    "detail",
    "spent",
)


class Waves:
    """The trees of some prompts. Each wave has at least one node of every prompt whose search continues.

    A tree depends on nothing but its prompt row and the settings: seeds are those of nodes, and what a killed step has drawn is
    found again by prompt and seed.

    Args:
        settings: of the search.
        workspace: the running step.
        sampler: draws steps and rollouts, and saves them as they come.
        prompts: prompt rows.
    """

    def __init__(
        self, settings: TreeSearch, workspace: Workspace, sampler: SavedSampler, prompts: pa.Table
    ) -> None:
        self._settings, self._workspace, self._sampler, self._prompts = settings, workspace, sampler, prompts
        self._rows: list[dict[str, Any]] = prompts.to_pylist()
        key = row_key(prompts.column_names)
        self._trees = [Tree(row[key], place) for place, row in enumerate(self._rows)]
        self._checkpoint = workspace.model("model").digest
        self._digest = digest_of([settings.of_steps.described(), settings.breadth])

    def rows(self, progress: Progress) -> pa.Table:
        """Returns the nodes of all prompts, when all searches are over; advances the progress by `breadth` for each."""
        policy, going = self._settings.policy_of(), self._trees
        while going:
            asked = {tree: nodes for tree in going if (nodes := self._asked(policy, tree))}
            progress.advance(self._settings.breadth * (len(going) - len(asked)))
            self._grow(asked)
            going = list(asked)
        return self._table()

    def _asked(self, policy: SearchPolicy, tree: Tree) -> list[SearchNode]:
        """Returns the nodes to continue, within the limit of expansions."""
        most = self._settings.expansions
        return policy.ask(tree)[: None if most is None else max(0, most - tree.expanded)]

    def _grow(self, asked: dict[Tree, list[SearchNode]]) -> None:
        """Grows the trees by one wave: the children of all chosen nodes, drawn, judged and scored."""
        children = self._children([node for nodes in asked.values() for node in nodes])
        found = [child for own in children.values() for child in own]
        self._judge(found)
        self._score(found)
        for tree, nodes in asked.items():
            tree.add(nodes, [child for node in nodes for child in children[node]])

    # -- drawing

    def _children(self, parents: Sequence[SearchNode]) -> dict[SearchNode, list[SearchNode]]:
        """Returns by node its different steps, in the order in which they were first drawn."""
        drawn = self._drawn(parents, self._settings.breadth, self._settings.of_steps)
        return {parent: self._different(parent, own) for parent, own in zip(parents, drawn, strict=True)}

    def _drawn(
        self, nodes: Sequence[SearchNode], count: int, settings: SamplingSettings, *word: str
    ) -> list[list[tuple[Completion, int]]]:
        """Returns by node `count` completions with their seeds; `word` separates the uses of a node's seeds."""
        run_seed, step = self._workspace.seed, self._workspace.step
        seeds = [row_seed(run_seed, step, node.id, *word, index) for node in nodes for index in range(count)]
        given = [prompt for node in nodes for prompt in [self._given(node)] * count]
        with self._workspace.timed("sample"):
            drawn = self._sampler.sample(
                [Request(*pair) for pair in zip(given, seeds, strict=True)], settings
            )
        pairs = list(zip(drawn, seeds, strict=True))
        return [pairs[start : start + count] for start in range(0, len(pairs), count)]

    def _given(self, node: SearchNode) -> Prompt:
        """Returns the text that the model continues."""
        row = self._rows[node.prompt]
        if node.parent is None:
            return prompt_of(row)
        return begun({**row, "prefix": "", "completion": node.text}, self._settings.chat)

    def _different(self, parent: SearchNode, drawn: Sequence[tuple[Completion, int]]) -> list[SearchNode]:
        found: dict[tuple[str, str], SearchNode] = {}
        for index, (one, seed) in enumerate(drawn):
            known = found.get((one.text, one.finish_reason))
            if known is None:
                found[one.text, one.finish_reason] = self._node(parent, one, index, seed)
            else:
                known.draws += 1
                known.spent += one.tokens
        return list(found.values())

    def _node(self, parent: SearchNode, drawn: Completion, index: int, seed: int) -> SearchNode:
        whole, goes_on = drawn.finish_reason == "stop", is_open(drawn.text, self._settings.separator)
        name = row_id(self._checkpoint, parent.id, index, self._digest, str(seed))
        node = SearchNode(name, parent.prompt, parent, parent.text + drawn.text, len(parent.text))
        node.index, node.spent, node.terminal = index, drawn.tokens, whole and not goes_on
        node.drawn = {
            "tokens": drawn.tokens,
            "logprob": drawn.logprob,
            "finish_reason": drawn.finish_reason,
            "seed": seed,
        }
        node.open = whole and goes_on and node.depth < self._settings.max_steps
        return node

    # -- judging

    def _judge(self, found: Sequence[SearchNode]) -> None:
        """Has the verifier judge the nodes that end a completion."""
        ended = [node for node in found if node.terminal]
        told = self._told(
            self._settings.judge,
            ended,
            [node.text for node in ended],
            ["stop"] * len(ended),
            ("verdict", "detail"),
        )
        for node, (verdict, detail) in zip(ended, told, strict=True):
            node.verdict, node.detail = verdict, detail

    def _score(self, found: Sequence[SearchNode]) -> None:
        """Scores each node that was not truncated; one without a score is not continued.

        A truncated step is wrong for a verifier, and has no score from a scorer.
        """
        whole, scorer = (
            [node for node in found if node.drawn["finish_reason"] == "stop"],
            self._settings.scorer,
        )
        if scorer is None:
            for node in found:
                node.score = 0.0
            self._roll_out(whole)
        else:
            told = self._told(scorer, whole, [node.text for node in whole], ["stop"] * len(whole), ("score",))
            for node, (score,) in zip(whole, told, strict=True):
                node.score = score
        for node in whole:
            node.open = node.open and node.score is not None

    def _roll_out(self, found: Sequence[SearchNode]) -> None:
        """Scores nodes by the share of correct completions from them; a terminal node is its own completion."""
        going = [node for node in found if not node.terminal]
        drawn = self._drawn(going, self._settings.rollouts, self._settings.of_rollouts, "rollout")
        many = [(node, one) for node, own in zip(going, drawn, strict=True) for one, _ in own]
        texts, reasons = [node.text + one.text for node, one in many], [one.finish_reason for _, one in many]
        told = self._told(self._settings.judge, [node for node, _ in many], texts, reasons, ("verdict",))
        verdicts = {node: [node.verdict] for node in found if node.terminal}
        for (node, one), (verdict,) in zip(many, told, strict=True):
            node.spent += one.tokens
            verdicts.setdefault(node, []).append(verdict)
        for node in found:
            node.score = _share(verdicts[node])

    def _told(
        self,
        judge: AddsColumns,
        nodes: Sequence[SearchNode],
        texts: Sequence[str],
        reasons: Sequence[str],
        columns: Columns,
    ) -> list[tuple[Any, ...]]:
        """Returns the verifier's verdicts on texts after the nodes' prompts."""
        import pyarrow as pa

        if not nodes:
            return []
        ids = [row_id(node.id, place) for place, node in enumerate(nodes)]
        made = {"sample_id": ids, "completion": texts, "finish_reason": reasons}
        rows = self._prompts.drop_columns([name for name in made if name in self._prompts.column_names])
        rows = rows.take([node.prompt for node in nodes])
        for name, values in made.items():
            rows = rows.append_column(name, pa.array(values, arrow_type(name)))
        with (
            progress_of(self._workspace.step, len(texts), "verdicts", None) as progress,
            self._workspace.timed("judge"),
        ):
            judged = judge.judged(rows, progress)
        return list(zip(*(judged[name].to_pylist() for name in columns), strict=True))

    # -- rows

    def _table(self) -> pa.Table:
        """Returns all nodes as rows, prompt by prompt, in the order in which they were found."""
        import pyarrow as pa

        nodes = [node for tree in self._trees for node in tree.nodes]
        ways = {node for tree in self._trees if (best := tree.best()) for node in best.path()}
        breadth = self._settings.breadth
        made = [
            {**node.drawn, **self._facts, **_columns(node, breadth), "best": node in ways} for node in nodes
        ]
        carried = self._prompts.take(pa.array([node.prompt for node in nodes], pa.int64()))
        names = merged(sampled_columns(tuple(carried.column_names)), TREE_COLUMNS)
        return pa.table({name: self._column(name, made, carried) for name in names})

    @property
    def _facts(self) -> dict[str, Any]:
        return {
            "temperature": self._settings.temperature,
            "hinted": False,
            "round": self._workspace.round,
            "checkpoint": self._checkpoint,
        }

    @staticmethod
    def _column(name: str, made: Sequence[dict[str, Any]], carried: pa.Table) -> pa.Array | pa.ChunkedArray:
        import pyarrow as pa

        own = name in TREE_COLUMNS or (made and name in made[0]) or name not in carried.column_names
        return pa.array([row[name] for row in made], arrow_type(name)) if own else carried[name]


def _columns(node: SearchNode, breadth: int) -> dict[str, Any]:
    """Returns the values of a node's row."""
    assert node.parent is not None
    return {
        "sample_id": node.id,
        "parents": [node.parent.id],
        "sample_index": node.index,
        "depth": node.depth,
        "prefix": node.text[: node.start],
        "completion": node.text[node.start :],
        "terminal": node.terminal,
        "prior": node.draws / breadth,
        "visits": node.visits,
        "value": node.value,
        "score": node.score,
        "verdict": node.verdict,
        "detail": node.detail,
        "spent": node.spent,
    }


def _share(verdicts: Sequence[str | None]) -> float | None:
    """Returns the share of judged completions that is right; None where none could be judged."""
    judged = [verdict for verdict in verdicts if verdict in (PASS, FAIL)]
    return sum(verdict == PASS for verdict in judged) / len(judged) if judged else None
