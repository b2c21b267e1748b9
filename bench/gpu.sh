#!/usr/bin/env bash
# What only a GPU can show, in order of worth, in at most 10 minutes:  bench/gpu.sh [--dry] [DIRECTORY]
#
# Each part has its own limit, and one that fails does not stop the others. DIRECTORY (default: bench/results/gpu) gets the log of
# each part and gpu.json; `python bench/gpu_page.py DIRECTORY/gpu.json` puts that into docs/gpu.md. Nothing is downloaded: the
# interpreter is .venv/bin/python (LINEAL_PYTHON), made by `make setup` with a torch for the GPU, and vLLM's is
# .venv-vllm/bin/python (LINEAL_VLLM_PYTHON).
# --dry does the same on the processor with the smallest sizes, to try the script; its figures mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

dry=
if [ "${1-}" = --dry ]; then dry=1; shift; fi
out=$(mkdir -p "${1-bench/results/gpu}" && cd "${1-bench/results/gpu}" && pwd)
python=${LINEAL_PYTHON-$PWD/.venv/bin/python}
vllm=${LINEAL_VLLM_PYTHON-$PWD/.venv-vllm/bin/python}
export PATH="$(dirname "$python"):$PATH" PYTHONPATH="$PWD/src" LINEAL_VLLM_PYTHON="$vllm" HF_HUB_OFFLINE=1
rm -f "$out"/*.log "$out"/*.figures "$out"/parts.jsonl
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# part NAME SECONDS COMMAND...: runs it within its limit, and records how it ended. A part prints what it likes, and writes its
# figures as JSON to $out/NAME.figures.
part() {
  local name=$1 limit=$2 began=$SECONDS status=0
  shift 2
  [ -z "$dry" ] || limit=$((limit * 6)) # a processor is slower, even so
  echo "== $name (at most $limit s): $*"
  timeout --kill-after=10 "$limit" "$@" > "$out/$name.log" 2>&1 || status=$?
  tail -n 3 "$out/$name.log"
  printf '{"part": "%s", "status": %d, "seconds": %d}\n' "$name" "$status" "$((SECONDS - began))" >> "$out/parts.jsonl"
}

skip() {
  echo "== $1: skipped, $2"
  printf '{"part": "%s", "status": -1, "seconds": 0}\n' "$1" >> "$out/parts.jsonl"
}

# tests NAME SECONDS ARGUMENTS...: a part made of tests. A skipped test shows nothing, so where all are skipped the part failed.
tests() {
  local name=$1 limit=$2
  shift 2
  part "$name" "$limit" bash -o pipefail -c '"$@" | tee "$0" && grep -q " passed" "$0"' "$scratch/$name" "$python" -m pytest -q -rs -p no:cacheprovider "$@"
}

slice() {
  local project="$scratch/slice"
  lineal init "$project" --pipeline self_improving_transformers
  sed -i "s/^rounds: .*/rounds: $1/; s/^compute:.*/compute:\n  device: $2/" "$project/params.yaml"
  local seconds=$3
  shift 3
  for change in "$@"; do sed -i "$change" "$project/pipelines/self_improving_transformers.yaml"; done
  (cd "$project" && timeout --signal=INT "$seconds" lineal run) || true # as far as it comes
  "$python" bench/gpu_page.py --run "$project" > "$out/slice.figures"
}
export -f slice
export python out scratch

if [ -n "$dry" ]; then
  sizes=(--rows 8 --samples 2 --repeats 1 --steps 2 --eager --kv-cache-gb 1)
  steps=(--steps 2 --turns 1 --batch-size 16) precision=fp32
  device=cpu rounds=1 seconds=360
  changes=('s/size: 19200/size: 64/' 's/size: \(256\|300\|100\)/size: 8/' 's/steps: \(300\|60\)/steps: 2/')
else
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader > "$out/hardware.txt"
  sizes=(--rows 8192 --repeats 3)
  steps=(--steps 60 --turns 3) precision=bf16
  device=cuda rounds=6 seconds=50
  changes=()
fi

if [ -x "$vllm" ]; then
  part vllm 150 "$python" bench/sample.py --only-vllm --vllm "$vllm" "${sizes[@]}" --json "$out/vllm.figures"
else
  skip vllm "no interpreter $vllm"
fi
part sft 60 "$python" bench/train.py --precision $precision "${steps[@]}" --json "$out/sft.figures"
part grpo 90 "$python" bench/train.py --grpo --precision $precision "${steps[@]}" --json "$out/grpo.figures"
tests handover 50 tests/e2e/test_memory_handover.py -k "gpu_memory" tests/gpu
if [ -x "$vllm" ]; then tests invariant 80 tests/e2e/test_vllm.py -k batch_invariant; else skip invariant "no interpreter $vllm"; fi
if [ -f bench/real.py ] && [ -z "$dry" ]; then
  part real 90 "$python" bench/real.py --json "$out/real.figures"
else
  skip real "bench/real.py is not there, or takes minutes on a processor"
fi
part slice 70 bash -c 'slice "$@"' slice $rounds $device $seconds "${changes[@]}"

"$python" bench/gpu_page.py --collect "$out" > "$out/gpu.json"
echo "wrote $out/gpu.json"
