"""Asks vLLM's `LLM.chat` the conversations of a file of rows; runs in vLLM's interpreter for `test_vllm.py`."""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Prints the token ids that vLLM gave the model for each row's messages, as one line of JSON."""
    from vllm import LLM, SamplingParams

    checkpoint, rows, arguments = sys.argv[1:]
    with open(rows) as file:
        talks = [json.loads(line)["messages"] for line in file]
    model = LLM(model=checkpoint, **json.loads(arguments))
    outputs = model.chat(talks, SamplingParams(max_tokens=1), use_tqdm=False)
    print(json.dumps([list(output.prompt_token_ids) for output in outputs]))


if __name__ == "__main__":
    main()
