"""Programs that want out, or want to pass without being right: each costs only itself, and none passes.

They run as root in many containers. So each tries what a hostile program would try in a form that harms nothing where a wall
is missing: signal 0 instead of SIGKILL, a few forks instead of a bomb, files opened to append.
"""

import os
import re
import time
from pathlib import Path

import pytest

from lineal.components.sandbox.bubblewrap import JUDGE, PROGRAM, Limits, end, require, start
from lineal.components.sandbox.pool import SandboxPool
from lineal.errors import SandboxError
from lineal.recipe.compute import Compute
from tests.unit.hostile_programs import PROGRAMS
from tests.unit.hostile_programs import TESTS as ASKING
from tests.unit.lab import Lab, rows_of

try:
    require()
except SandboxError as error:
    pytest.skip(f"no sandbox here: {error}", allow_module_level=True)

TESTS = "assert add(1, 2) == 3\nassert add('a', 'b') == 'ab'\nassert add([1], [2]) == [1, 2]"
RIGHT = "def add(a, b):\n    return a + b\n"


def judged(tmp_path, programs, tests=TESTS, **settings):
    """Verdict and detail of programs; a right one stands after each, and must pass."""
    lab = Lab(tmp_path, Compute(workers=2))
    rows = [
        {"sample_id": f"s{number}", "prompt_id": "p", "prompt": "?", "completion": program, "tests": tests}
        for number, program in enumerate(one for program in programs for one in (program, RIGHT))
    ]
    settings = {"timeout": 1, "max_error_rate": 0.0, **settings}
    made = rows_of(
        lab.run("unit_tests", "round_01/verified", {"rows": lab.put("round_01/generated", rows)}, **settings)[
            ""
        ]
    )
    assert [row["verdict"] for row in made[1::2]] == ["pass"] * len(programs)
    return [(row["verdict"], row["detail"]) for row in made[::2]]


def reached(tmp_path, program):
    """Returns a program's own report: it defines `report`, whose value must be 'nothing'."""
    lab = Lab(tmp_path, Compute(workers=1))
    row = {"sample_id": "s", "prompt_id": "p", "prompt": "?", "completion": program, "answer": "nothing"}
    made = rows_of(
        lab.run("program_output", "round_01/verified", {"rows": lab.put("round_01/generated", [row])})[""]
    )
    return made[0]["verdict"], made[0]["output"], made[0]["detail"]


EQUALS_EVERYTHING = """
class Everything(ANCESTOR):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = None
def add(a, b): return Everything()
"""

LIARS = {
    "exits": "import sys\nsys.exit(0)",
    "exits in a call": "import sys\ndef add(a, b): sys.exit(0)",
    "exits at once": "import os\nos._exit(0)",
    "exits at once in a call": "import os\ndef add(a, b): os._exit(0)",
    "raises what asserts raise": "def add(a, b): raise AssertionError",
    "object": EQUALS_EVERYTHING.replace("ANCESTOR", "object"),
    "int": EQUALS_EVERYTHING.replace("ANCESTOR", "int"),
    "str": EQUALS_EVERYTHING.replace("ANCESTOR", "str"),
    "list": EQUALS_EVERYTHING.replace("ANCESTOR", "list"),
    "dict": EQUALS_EVERYTHING.replace("ANCESTOR", "dict"),
    "lies about its class": EQUALS_EVERYTHING.replace("ANCESTOR", "object")
    + "\nEverything.__class__ = property(lambda s: int)",
    "changes built-ins": "import builtins\nfor name in ('all', 'any', 'bool', 'isinstance', 'repr', 'eval'):\n"
    "    setattr(builtins, name, lambda *a: True)\ndef add(a, b): return 0",
    "changes every function": "import gc, types\nfor f in gc.get_objects():\n    if isinstance(f, types.FunctionType):\n"
    "        try: f.__code__ = (lambda *a, **k: 'true').__code__\n        except Exception: pass\ndef add(a, b): return 0",
    "changes operators": "import operator, ast\noperator.eq = lambda a, b: True\nast.Eq = None\ndef add(a, b): return 0",
    "leaves an exit handler": "import atexit, os\natexit.register(lambda: os.write(1, b'pass'))\ndef add(a, b): return 0",
    "leaves a thread": "import threading, time\n"
    "threading.Thread(target=lambda: time.sleep(600)).start()\ndef add(a, b): return 0",
    "traces": "import sys\nsys.settrace(lambda *a: (_ for _ in ()).throw(SystemExit(0)))\ndef add(a, b): return 0",
    "closes everything": "import os\nos.closerange(0, 64)\ndef add(a, b): return 0",
    "recurses": "import sys\nsys.setrecursionlimit(10**9)\ndef add(a, b): return add(a, b)",
    "recurses in C": "def add(a, b):\n    x = []\n    for _ in range(10**6): x = [x]\n    return x",
    "huge int": "def add(a, b): return 10 ** 1000000",
    "surrogates": "def add(a, b): return '\\ud800\\udfff' + chr(0)",
    "raises surrogates": "def add(a, b): raise ValueError('\\ud800')",
    "raises something unprintable": "class Bad(Exception):\n    def __str__(self): raise SystemExit(0)\ndef add(a, b): raise Bad",
    "returns itself": "def add(a, b):\n    x = []\n    x.append(x)\n    return x",
    "no Python": "def add(a, b: return",
    "null bytes": "def add(a, b): return '\0'",
    "nothing": "",
    "uninterruptible": "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
    "    except (OSError, ValueError): pass\ndef add(a, b):\n    while True: pass",
    "kills itself": "import os\ndef add(a, b): os.kill(os.getpid(), 9)",
    "crashes": "import ctypes\ndef add(a, b): return ctypes.string_at(0)",
}


def test_hostile_no_liar_passes_and_none_is_an_error(tmp_path):
    found = dict(zip(LIARS, judged(tmp_path, list(LIARS.values())), strict=True))
    assert {verdict for verdict, _ in found.values()} == {"fail"}, found
    assert all(detail for _, detail in found.values())
    assert found["int"][1] == "test 1 of 3: assert add(1, 2) == 3: got 0"
    assert found["exits"][1] == "SystemExit: 0" and "SystemExit: 0" in found["exits in a call"][1]
    assert found["exits at once"][1] == "ended without an answer (exit status 0)"


def test_hostile_none_of_a_hundred_programs_passes_tests_that_ask(tmp_path):
    programs = {**PROGRAMS, "right": RIGHT}
    rows = [
        {"sample_id": name, "prompt_id": "p", "prompt": "?", "completion": program, "tests": ASKING}
        for name, program in programs.items()
    ]
    lab = Lab(tmp_path, Compute(workers=2))
    made = rows_of(
        lab.run("unit_tests", "round_01/verified", {"rows": lab.put("round_01/generated", rows)}, timeout=1)[
            ""
        ]
    )
    found = {row["sample_id"]: (row["verdict"], row["detail"]) for row in made}
    assert len(PROGRAMS) > 100 and found.pop("right") == ("pass", None)
    assert {verdict for verdict, _ in found.values()} == {"fail"}, {
        k: v for k, v in found.items() if v[0] != "fail"
    }
    assert not [detail for _, detail in found.values() if not detail]


SECRETS = [
    "assert number(1) == 'SECRETANSWER'",
    "assert number(1) == 'SECRETANSWER '.strip()",
    "wanted = 'SECRETANSWER'\nassert [n for n in [1] if number(n) == wanted]",
    "def reference(x):\n    return 'SECRETANSWER'\nassert number(1) == reference(1)",
]


def test_hostile_no_form_of_an_expected_answer_is_inside(tmp_path):
    rows = [
        {"sample_id": f"s{n}", "prompt_id": "p", "prompt": "?", "completion": SEARCH, "tests": tests}
        for n, tests in enumerate(SECRETS)
    ]
    lab = Lab(tmp_path, Compute(workers=2))
    made = rows_of(
        lab.run("unit_tests", "round_01/verified", {"rows": lab.put("round_01/generated", rows)})[""]
    )
    assert [(row["verdict"], "got [True, False]" in row["detail"]) for row in made] == [("fail", True)] * len(
        SECRETS
    )


SLOW = """
import os
numbers = ', '.join('{"int": "%x"}' % (number * (2**61 - 1)) for number in range(1, 60000))  # all of one hash
line = f'START{{"set": [{numbers}]}}END\\n'.encode()
def add(a, b):
    for fd in range(3, 20):
        try:
            sent = 0
            while sent < len(line): sent += os.write(fd, line[sent:])
        except OSError: pass
    os._exit(0)
"""


def test_hostile_answers_that_take_long_to_compare_are_stopped(tmp_path):
    calls = SLOW.replace("START", '{{"raised": null, "output": "", "results": [[true, ').replace(
        "END", "]]}}"
    )
    asked = SLOW.replace("START", "[true, ").replace("END", "]")
    cases = [(calls, "assert add(1, 2) == 3"), (asked, "x = 3\nassert add(1, 2) == x")]
    rows = [
        {"sample_id": f"s{n}", "prompt_id": "p", "prompt": "?", "completion": program, "tests": tests}
        for n, (program, tests) in enumerate(cases)
    ]
    lab = Lab(tmp_path, Compute(workers=2))
    generated = lab.put("round_01/generated", rows)
    made = rows_of(
        lab.run("unit_tests", "round_01/verified", {"rows": generated}, timeout=1, output_kb=4096)[""]
    )
    assert [row["verdict"] for row in made] == ["fail", "fail"]
    for row in made:
        assert re.match(
            r"judging it (timed out after 1 s|took more than 1 s|waited for more than)", row["detail"]
        )


FORGERIES = {
    "a verdict": b'{"verdict": "pass"}\n',
    "three truths": b'{"raised": null, "output": "", "results": [[true, true], [true, true], [true, true]]}\n',
    "too many": b'{"raised": null, "output": "", "results": [[true, 3], [true, "ab"], [true, [1, 2]], [true, 0]]}\n',
    "none": b'{"raised": null, "output": "", "results": []}\n',
    "not JSON": b"pass\n",
    "deep JSON": b"[" * 60_000 + b"\n",
    "bytes": bytes(range(128, 256)) + b"\n",
    "an unknown kind": b'{"raised": null, "output": "", "results": [[true, {"eval": "1"}], [true, 1], [true, 1]]}\n',
    "a huge number": b'{"raised": null, "output": "", "results": [[true, '
    + b"9" * 50_000
    + b"], [true, 1], [true, 1]]}\n",
    "unhashable": b'{"raised": null, "output": "", "results": [[true, {"set": [[1]]}], [true, 1], [true, 1]]}\n',
}


def test_hostile_answers_on_the_channel_are_only_wrong_answers(tmp_path):
    programs = [
        f"import os\nfor fd in range(3, 20):\n    try: os.write(fd, {line!r})\n    except OSError: pass"
        for line in FORGERIES.values()
    ]
    found = dict(zip(FORGERIES, judged(tmp_path, programs), strict=True))
    assert {verdict for verdict, _ in found.values()} == {"fail"}, found


def test_hostile_the_channel_carries_values_so_right_ones_are_right(tmp_path):
    # a program that knows the answers may as well return them; this shows that the forgeries above reach the reader
    line = b'{"raised": null, "output": "", "results": [[true, 3], [true, "ab"], [true, [1, 2]]]}\n'
    program = f"import os\nfor fd in range(3, 20):\n    try: os.write(fd, {line!r})\n    except OSError: pass"
    assert judged(tmp_path, [program]) == [("pass", None)]


SEARCH = """
import gc, sys, os
def search():
    seen = []
    frame = sys._getframe()
    while frame:
        seen.append(repr(frame.f_locals) + repr(frame.f_globals))
        frame = frame.f_back
    seen += [repr(thing) for thing in gc.get_objects()]
    for root, _, names in os.walk('/'):
        if root.startswith('/usr') or '/lib' in root:
            continue
        for name in names:
            try:
                with open(os.path.join(root, name), errors='replace') as stream:
                    seen.append(stream.read(100000))
            except OSError:
                pass
    for fd in range(0, 20):
        try: seen.append(repr(os.read(fd, 1)) if fd == 0 else '')
        except OSError: pass
    return ' '.join(seen)
def number(x):
    text = search()
    wanted = ''.join(reversed('REWSNATERCES'))
    return [len(text) > 100000, wanted in text]
"""


def test_hostile_the_expected_answers_are_nowhere_inside(tmp_path):
    tests = "assert number(1) == 'SECRETANSWER'"
    lab = Lab(tmp_path)
    row = {"sample_id": "s", "prompt_id": "p", "prompt": "?", "completion": SEARCH, "tests": tests}
    (made,) = rows_of(
        lab.run("unit_tests", "round_01/verified", {"rows": lab.put("round_01/generated", [row])})[""]
    )
    assert (made["verdict"], made["detail"]) == ("fail", f"test 1 of 1: {tests}: got [True, False]")


HOGS = {
    "forks": (
        "import os\ndef add(a, b):\n    for _ in range(8):\n        if os.fork() == 0: os._exit(0)\n    return a + b",
        "PermissionError",
    ),
    "forks through subprocess": ("import subprocess\nsubprocess.run(['/bin/true'])", "Error"),
    "starts threads": (
        "import threading, time\ndef add(a, b):\n"
        "    for _ in range(2000): threading.Thread(target=time.sleep, args=(99,)).start()",
        "start new thread",
    ),
    "memory": (
        "def add(a, b):\n    x = []\n    for _ in range(100): x.append(bytearray(10**7))",
        "MemoryError",
    ),
    "memory in files": (
        "def add(a, b):\n    for n in range(2000): open(f'/tmp/{n}', 'w').write('x' * 60000)",
        "OSError",
    ),
    "shared memory": (
        "import mmap\nkept = []\ndef add(a, b):\n"
        "    for _ in range(100): kept.append(mmap.mmap(-1, 1 << 28))",
        "OSError",
    ),
    "answers without end": ("def add(a, b): return 'x' * 10**7", "longer than 65,536 bytes"),
}
SPINNERS = {
    "prints without end": "def add(a, b):\n    while True: print('x' * 1000)",
    "spins": "def add(a, b):\n    while True: pass",
    "spins in C": "def add(a, b): return 9 ** 9 ** 9",
    "spins at once": "while True: pass",
    "spins in threads": (
        "import threading\ndef spin():\n    while True: pass\n"
        "def add(a, b):\n    threading.Thread(target=spin).start()\n    spin()"
    ),
}


def test_hostile_hogs_are_stopped_at_their_limits(tmp_path):
    """With 20 s for each, so that on a slow machine no time limit comes before the one in question."""
    programs = [program for program, _ in HOGS.values()]
    found = dict(zip(HOGS, judged(tmp_path, programs, memory_mb=256, timeout=20), strict=True))
    for name, (_, expected) in HOGS.items():
        assert found[name][0] == "fail" and re.search(expected, found[name][1]), (name, found[name])


def test_hostile_spinning_programs_are_stopped_in_time(tmp_path):
    """By processor time, or by the clock where other processes had the processors; what prints, also by its output."""
    found = dict(zip(SPINNERS, judged(tmp_path, list(SPINNERS.values()), memory_mb=256), strict=True))
    for name, (verdict, detail) in found.items():
        assert verdict == "fail" and re.search("(took|waited for) more than|File too large", detail), (
            name,
            detail,
        )


def processes_with(text):
    """The processes whose command line holds a text."""
    found = []
    for name in os.listdir("/proc"):
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes() if name.isdigit() else b""
        except OSError:
            continue
        if text.encode() in line:
            found.append(int(name))
    return found


def test_hostile_a_sandbox_that_is_ended_while_it_starts_leaves_nothing():
    limits = Limits(1, 1.5, (1 << 29) + os.getpid(), 1 << 16)
    for turn in range(48):
        process = start(limits, (PROGRAM, JUDGE)[turn % 2])
        until = time.perf_counter() + turn % 24 * 5e-4
        while time.perf_counter() < until:
            pass
        end(process)
    patience = time.monotonic() + 20
    while processes_with(str(limits.memory_bytes)) and time.monotonic() < patience:
        pass
    assert processes_with(str(limits.memory_bytes)) == []


def test_hostile_a_pool_that_is_closed_leaves_nothing():
    limits = Limits(1, 1.5, (1 << 29) + os.getpid() + 1, 1 << 16)
    for _ in range(8):
        with SandboxPool(2, limits) as pool:
            list(pool.map([{"name": "program", "source": "x = 1", "calls": (), "input": ""}] * 2))
    patience = time.monotonic() + 20
    while processes_with(str(limits.memory_bytes)) and time.monotonic() < patience:
        pass
    assert processes_with(str(limits.memory_bytes)) == []


def test_hostile_a_waiting_program_costs_its_own_limit():
    jobs = [
        {"name": "program", "source": source, "calls": (), "input": ""}
        for source in ("import time\ntime.sleep(999)", "x = 1")
    ]
    began = time.monotonic()
    with SandboxPool(1, Limits(1, 1.5, 1 << 29, 1 << 16)) as pool:
        waited, quick = pool.map(jobs)
    assert (waited.line, waited.problem, waited.broken) == (None, "waited for more than 1.5 s", False)
    assert quick.line is not None and 1.5 < time.monotonic() - began < 30


def test_hostile_files_of_this_machine_are_not_there(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    paths = [
        str(secret),
        str(Path(__file__)),
        "/etc/passwd",
        "/etc/hostname",
        "/proc/1/environ",
        "/sys/class",
        "/dev/null",
        "/run",
    ]
    program = f"import os\nprint([path for path in {paths!r} if os.path.exists(path)] or 'nothing')"
    assert reached(tmp_path, program)[:2] == ("pass", "nothing\n")


def test_hostile_home_holds_only_python(tmp_path):
    home, library = str(Path.home()), os.path.realpath(os.__file__)
    program = (
        f"import os\nfound = [name for root, _, names in os.walk({home!r}) for name in names\n"
        f"         if '/lib' not in root and not name.startswith('python')]\nprint(found or 'nothing')"
    )
    assert library and reached(tmp_path, program)[:2] == ("pass", "nothing\n")


WRITES = """
import os
wrote = []
for path in ('/x', '/usr/x', '/inside.pyc', os.__file__, os.path.dirname(os.__file__) + '/x.py', '/lib/x', '/etc/x'):
    try:
        open(path, 'a').close()
        wrote.append(path)
    except OSError:
        pass
print(wrote or 'nothing')
"""


def test_hostile_nothing_but_tmp_can_be_written(tmp_path):
    assert reached(tmp_path, WRITES)[:2] == ("pass", "nothing\n")


def test_hostile_tmp_is_private_and_new_for_each_program(tmp_path):
    program = "import os\nprint(os.listdir('/tmp') or 'nothing')\nopen('/tmp/left', 'w').close()"
    assert [reached(tmp_path / str(number), program)[:2] for number in range(2)] == [
        ("pass", "nothing\n")
    ] * 2
    assert not os.path.exists("/tmp/left")


NETWORK = """
import socket
found = []
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
    for make in (socket.socket, socket.socketpair):
        try:
            found.append(make(family))
        except OSError:
            pass
try:
    socket.create_connection(('127.0.0.1', 1), 1)
except OSError:
    pass
print(found or 'nothing')
"""


def test_hostile_the_network_is_not_there(tmp_path):
    assert reached(tmp_path, NETWORK)[:2] == ("pass", "nothing\n")


SIGNALS = """
import os
found = []
for pid in (*range(1, 5000), OWN, TEST):
    if pid not in (1, os.getpid()):
        try:
            os.kill(pid, 0)
            found.append(pid)
        except OSError:
            pass
print(os.getpid() < 10 and os.getppid() == 1 and found == [] and 'nothing' or found)
"""


def test_hostile_signals_reach_nobody(tmp_path):
    assert reached(tmp_path, SIGNALS.replace("OWN", str(os.getpid())).replace("TEST", str(os.getppid())))[
        :2
    ] == (
        "pass",
        "nothing\n",
    )


PRIVILEGES = """
import ctypes, os, resource
libc = ctypes.CDLL(None, use_errno=True)
found = []
if libc.unshare(0x10000000) == 0: found.append('user namespace')
if libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0: found.append('mount')
if libc.ptrace(16, 1, 0, 0) == 0: found.append('ptrace')
if libc.setuid(0) == 0 and os.getuid() == 0: found.append('root')
if libc.prctl(39, 0, 0, 0, 0) != 1: found.append('may gain privileges')
for limit in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE):
    try:
        resource.setrlimit(limit, (resource.RLIM_INFINITY,) * 2)
        found.append('limit')
    except (OSError, ValueError): pass
print(found or 'nothing')
"""


def test_hostile_no_privilege_can_be_gained(tmp_path):
    assert reached(tmp_path, PRIVILEGES)[:2] == ("pass", "nothing\n")


def test_hostile_the_environment_says_nothing_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    program = "import os, socket\nprint(sorted(os.environ), socket.gethostname(), os.getuid(), os.getcwd())"
    output = reached(tmp_path, program)[1]
    assert "SECRET" not in output and output.endswith("sandbox 65534 /tmp\n")
