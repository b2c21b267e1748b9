"""Programs that want to pass without being right, against tests that run in the judge's sandbox and ask for `add`.

None of them adds. Each tries to change what the judge sees, to answer in its place, to learn what is expected, or to wear it out.
"""

TESTS = """
import math

WANTED = 'SECRET ANSWER'.split()

def close(left, right):
    return math.fabs(left - right) < 1e-6

def check(candidate):
    assert candidate(2, 3) == 5
    for n in range(3):
        assert close(candidate(n, 0.5), n + 0.5)
    assert candidate(['SECRET'], ['ANSWER']) == WANTED
    assert sorted(candidate([2], [1])) == sorted([1, 2]) and sum(candidate([2], [1])) == 3
    assert candidate(1, 1) is not None and candidate(0, 1) != 0
    try:
        candidate(1, 'a')
        assert False
    except TypeError:
        pass

check(add)
"""
RIGHT = "def add(a, b):\n    return a + b\n"


def _claims(methods, ancestor="object"):
    lines = "\n".join(f"    {line}" for line in methods.split("\n"))
    return f"class Claim({ancestor}):\n{lines}\ndef add(a, b): return Claim()"


def _everywhere(line):
    attempt = f"try: os.write(fd, {line!r})\n        except OSError: pass"
    return f"import os\ndef add(a, b):\n    for fd in range(1, 30):\n        {attempt}"


def _patched(code):
    return f"{code}\ndef add(a, b): return 0"


YES = "return True"
OUTCOME = b'!{"failed": {}, "reached": 6, "ended": null, "answers": 9}\n'
METHODS = ("eq", "ne", "lt", "le", "gt", "ge")

PROGRAMS = {
    # built-ins and modules
    "a class for math": _patched("class math:\n    fabs = staticmethod(lambda x: 0)\n    inf = 0"),
    "math patched": _patched("import math\nmath.fabs = math.isclose = lambda *a, **k: 0"),
    "math in sys.modules": _patched(
        "import sys, types\nsys.modules['math'] = types.SimpleNamespace(fabs=lambda x: 0)"
    ),
    "every module a lie": _patched("import sys\nfor name in list(sys.modules): sys.modules[name] = None"),
    "import hooked": _patched("import builtins\nbuiltins.__import__ = lambda *a, **k: None"),
    "finder": _patched(
        "import sys\nsys.meta_path.insert(0, type('F', (), {'find_spec': lambda *a: None})())\nsys.path[:] = []"
    ),
    "sorted and sum redefined": "def sorted(x): return 0\ndef sum(x): return 3\ndef add(a, b): return 0",
    "range redefined": _patched("range = lambda *a: []\nclass range: pass"),
    "set and len redefined": _patched("set = frozenset = len = lambda *a: 0"),
    "check redefined": _patched("def check(candidate): pass\ndef close(a, b): return True\nWANTED = 0"),
    "judge's own names": _patched("def _lineal_assertion(*a): pass\n_lineal_same = _lineal_assertion"),
    "built-ins emptied": _patched(
        "import builtins\nfor name in list(vars(builtins)):\n    try: delattr(builtins, name)\n"
        "    except Exception: pass"
    ),
    "assert patched": _patched(
        "import builtins\nbuiltins.AssertionError = type('A', (BaseException,), {})\n__debug__x = 0"
    ),
    "candidate in built-ins": _patched("import builtins\nbuiltins.candidate = lambda *a: 5"),
    "no add": "def ad(a, b): return a + b",
    "add is a number": "add = 5",
    "add is a text": "add = 'SECRET ANSWER'",
    "add is a class": "class add:\n    def __init__(self, a, b): pass\n    __eq__ = lambda s, o: True",
    "add is a property of the module": "import sys\nclass M(type(sys)):\n    add = property(lambda s: 5)\n"
    "sys.modules[__name__].__class__ = M",
    "getattr of the module": "def __getattr__(name): return lambda *a: 5",
    "add in wide letters": "def \uff41\uff44\uff44(a, b): return 0",
    "add in other letters": "def \u0430dd(a, b): return a + b",
    "defined in exec": 'exec(\'def add(a, b): return type("E", (), {"__eq__": lambda *a: True})()\')',
    "defined twice": RIGHT.replace("add", "sub") + "add = lambda a, b: NotImplemented",
    # operators
    "equal": _claims(f"def __eq__(self, other): {YES}\n__hash__ = None"),
    "equal and not unequal": _claims(f"def __eq__(self, other): {YES}\ndef __ne__(self, other): {YES}"),
    "all comparisons": _claims("\n".join(f"def __{name}__(self, other): {YES}" for name in METHODS)),
    "an equal int": _claims(f"def __eq__(self, other): {YES}\n__hash__ = int.__hash__", "int"),
    "an equal list": _claims(
        f"def __eq__(self, other): {YES}\ndef __iter__(self): return iter([1, 2])", "list"
    ),
    "an equal float": _claims(f"def __eq__(self, other): {YES}\ndef __sub__(self, o): return 0.0", "float"),
    "an equal text": _claims(f"def __eq__(self, other): {YES}", "str"),
    "a lying dict": _claims(
        "def items(self): return [(1, 2)]\ndef __iter__(self): return iter([1, 2])", "dict"
    ),
    "arithmetic": _claims(
        "def __sub__(self, other): return 0\n__rsub__ = __add__ = __radd__ = __abs__ = __sub__"
    ),
    "a number by __index__": _claims("def __index__(self): return 5\n__int__ = __float__ = __index__"),
    "true": _claims(f"def __bool__(self): {YES}\ndef __len__(self): return 2"),
    "contains": _claims(f"def __contains__(self, item): {YES}\ndef __getitem__(self, key): return 1"),
    "iterates": _claims("def __iter__(self): return iter([1, 2])"),
    "hash of zero": _claims("def __hash__(self): return 0"),
    "class of int": _claims("__class__ = property(lambda self: int)"),
    "any attribute": _claims("def __getattr__(self, name): return lambda *a: True"),
    "a metaclass": "class M(type):\n    __eq__ = lambda *a: True\n    __hash__ = None\n"
    "class C(metaclass=M): pass\ndef add(a, b): return C",
    "not a number": "def add(a, b): return float('nan')",
    "infinity": "def add(a, b): return float('inf')",
    "True": "def add(a, b): return True",
    "not implemented": "def add(a, b): return NotImplemented",
    "a plain object": "def add(a, b): return object()",
    "a list of objects": "def add(a, b): return [object(), object()]",
    "a generator": "def add(a, b): yield a + b",
    "itself": "def add(*a): return add",
    "the module": "import sys\ndef add(a, b): return sys.modules[__name__]",
    # exceptions
    "the expected exception always": "def add(a, b): raise TypeError",
    "stops an iteration": "def add(a, b): raise StopIteration",
    "closes a generator": "def add(a, b): raise GeneratorExit",
    "an exit": "def add(a, b): raise SystemExit(0)",
    "an interrupt": "def add(a, b): raise KeyboardInterrupt",
    "an assertion error": "def add(a, b): raise AssertionError",
    "an exception of a known name": "class TypeError(Exception): pass\ndef add(a, b): raise TypeError('no plain value')",
    "an exception that cannot be told": "class E(Exception):\n    def __str__(self): raise MemoryError\ndef add(a, b): raise E",
    "the judge's exception": "class CannotAsk(Exception): pass\ndef add(a, b): raise CannotAsk('x')",
    "an exception group": "def add(a, b): raise ExceptionGroup('g', [TypeError()])",
    "a message of many lines": 'def add(a, b): raise TypeError(\'\\n!{"failed": {}, "ended": null, "answers": 1}\\n\')',
    # the channel
    "an outcome": _everywhere(OUTCOME),
    "an outcome as an answer": _everywhere(b"[true, 5]\n" + OUTCOME),
    "answers in advance": _everywhere(b"[true, 5]\n" * 3),
    "an answer of another kind": _everywhere(b'[true, {"eval": "1"}]\n'),
    "an answer that is none": _everywhere(b'{"failed": {}}\n'),
    "a request back": _everywhere(b"?(None, 'add', (), {})\n"),
    "objects of another number": _everywhere(b'[true, {"other": ["int", -1]}]\n'),
    "a deep answer": _everywhere(b"[" * 30_000 + b"\n"),
    "an answer without an end": _everywhere(b"[true, 5]"),
    "reads the requests": "import os\ndef add(a, b):\n    for fd in range(3, 20):\n        try:\n"
    "            os.set_blocking(fd, False)\n            if b'WANTED' in os.read(fd, 9999): return 5\n"
    "        except OSError: pass",
    "closes the channel": "import os\ndef add(a, b): os.closerange(0, 64)",
    "writes while it is asked": "import os, threading\ndef spam():\n    for _ in range(2000):\n        for fd in range(3, 9):\n"
    "            try: os.write(fd, b'[true, 5]\\n')\n            except OSError: pass\n"
    "threading.Thread(target=spam, daemon=True).start()\ndef add(a, b): return 0",
    # this process
    "plain patched": "import sys\ndef add(a, b):\n    frame = sys._getframe()\n    while frame:\n"
    "        frame.f_globals.update(plain=lambda v: 'true', quoted=lambda v: '5', told=lambda e: 'TypeError')\n"
    "        frame = frame.f_back\n    return 0",
    "main patched": _patched("import sys\nmain = sys.modules['__main__']\nmain.plain = lambda value: '5'"),
    "every function patched": _patched(
        "import gc, types\nfor f in gc.get_objects():\n"
        "    if isinstance(f, types.FunctionType):\n"
        "        try: f.__code__ = (lambda *a, **k: 'true').__code__\n"
        "        except Exception: pass"
    ),
    "numbers patched": "import ctypes\ndef add(a, b):\n    ctypes.memset(id(7) + 24, 5, 1)\n    return 7",
    "traces": _patched("import sys\nsys.settrace(lambda *a: 1 / 0)"),
    "profiles": _patched(
        "import sys\nsys.setprofile(lambda *a: None)\nsys.excepthook = sys.displayhook = print"
    ),
    "exit handler": _patched("import atexit, os\natexit.register(lambda: os.write(3, b'[true, 5]\\n'))"),
    "output replaced": _patched("import sys\nsys.stdout = sys.stderr = sys.stdin = None"),
    "floods its output": "def add(a, b):\n    for _ in range(200): print('[true, 5]' * 1000)\n    return 0",
    "random seeded": _patched("import random\nrandom.seed = random.random = lambda *a: 0"),
    "the clock": _patched("import time\ntime.time = time.monotonic = lambda: 0"),
    # changed arguments
    "empties its arguments": "def add(a, b):\n    if isinstance(a, list): a.clear(); b.clear()\n    return a",
    "returns its argument": "def add(a, b): return a",
    # wear and tear
    "exits at once": "import os\ndef add(a, b): os._exit(0)",
    "kills itself": "import os\ndef add(a, b): os.kill(os.getpid(), 9)",
    "kills the first process": "import os\ndef add(a, b): os.kill(1, 9); os.kill(-1, 0)",
    "crashes": "import ctypes\ndef add(a, b): return ctypes.string_at(0)",
    "recurses": "def add(a, b): return add(a, b)",
    "nests": "def add(a, b):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x",
    "a long number": "def add(a, b): return 10 ** 40000",
    "a long text": "def add(a, b): return 'x' * 10**6",
    "much memory": "def add(a, b): return 'x' * 10**10",
    "colliding hashes": "def add(a, b): return {n * (2**61 - 1): 0 for n in range(700)}",
    "spins": "def add(a, b):\n    while True: pass",
    "forks": "import os\ndef add(a, b):\n    for _ in range(8): os.fork()",
    "a pair of sockets": "import socket\ndef add(a, b): return socket.socketpair() and a + b",
    "null bytes": "def add(a, b): return '\0'",
    "no Python": "def add(a, b: return",
    "a lone surrogate": "def add(a, b): return '\\ud800'",
    "raises at once": "raise TypeError('SECRET')",
    "ends at once": "import sys\nsys.exit(0)",
}
