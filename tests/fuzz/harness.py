"""What every reader of foreign bytes is held to, and how it is tried.

The rules: a call returns or raises UserError (or what its documentation names) with one printable
line of bounded length; it takes under LONGEST seconds and, measured apart, under MOST_MEMORY more
bytes; it changes no file outside its folder, starts no program and reaches no other machine.

To add a reader: `test_<readers>.py` here, with a property for `attempt` or two, and
`corpus/<readers>.py`, whose ENTRIES hold each fault ever found, by name, made by code where large.

    python -m pytest tests/fuzz --seconds 60

tries each property for a minute, from new seeds, instead of the same few examples each time, and
says at the end how many were tried.
"""

import contextlib
import ctypes
import os
import pickle
import random
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from minivit.errors import UserError

LONGEST = 5.0  # seconds of the processor, and PATIENCE times as many on a clock
PATIENCE = 4  # other programs run, too
MOST_MEMORY = 1 << 30
LONGEST_MESSAGE = 1000
SECONDS = float(os.environ.get("MINIVIT_FUZZ_SECONDS") or 0)
TRIED: Counter[str] = Counter()  # inputs, by the test that tried them; conftest.py tells the sum


class BrokenRuleError(AssertionError):
    """A reader did what none may do."""


def attempt(examples: int, body: Callable[..., None], **strategies: st.SearchStrategy) -> None:
    """Calls `body` with what `strategies` draw, `examples` times or for SECONDS."""
    rounds = settings(
        max_examples=examples if not SECONDS else 500,
        deadline=None,
        derandomize=not SECONDS,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    test = os.environ["PYTEST_CURRENT_TEST"].removesuffix(" (call)")

    def counted(**drawn):
        TRIED[test] += 1
        body(**drawn)

    end = time.monotonic() + SECONDS
    run = rounds(given(**strategies)(counted))
    while True:
        (seeded(random.getrandbits(64))(run) if SECONDS else run)()
        if time.monotonic() >= end:
            break


def check(
    read: Callable[[], object],
    folder: Path,
    *allowed: type[BaseException],
    longest: float = LONGEST,
) -> object:
    """What `read()` returns, or the exception that it may raise; BrokenRuleError otherwise."""
    start = time.process_time()
    with _stopped_after(PATIENCE * longest), _watched(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = read()
        except (UserError, *allowed) as error:
            found = error
        except BrokenRuleError:
            raise
        except BaseException as error:
            raise BrokenRuleError(f"{type(error).__name__} came out: {str(error)[:500]}") from error
    took = time.process_time() - start
    if took > longest:
        raise BrokenRuleError(f"it took {took:.2f} s")
    if isinstance(found, UserError):
        message = str(found)
        if not message.isprintable() or len(message) > LONGEST_MESSAGE or not message:
            raise BrokenRuleError(f"a message of {len(message)} characters: {message[:500]!a}")
    return found


def check_apart(read: Callable[[], object], folder: Path, *allowed: type[BaseException]) -> str:
    """`check` in a process of its own; what came of it, in words. A rule more: the memory.

    Where there is no Linux to tell the memory, `check` alone.
    """
    if not Path("/proc/self/status").exists():
        return _in_words(check(read, folder, *allowed))
    end, other = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of ours hold no lock here
        child = os.fork()
    if not child:
        os.close(end)
        _tell(other, read, folder, allowed)
    os.close(other)
    told = bytearray()
    with open(end, "rb", buffering=0) as pipe:
        while part := pipe.read(1 << 16):
            told += part
    _, status = os.waitpid(child, 0)
    if not told:
        raise BrokenRuleError(f"the process ended with status {status}")
    good, words, grown = pickle.loads(told)  # our own process wrote it
    if not good:
        raise BrokenRuleError(words)
    if grown > MOST_MEMORY:
        raise BrokenRuleError(f"it took {grown / 2**20:,.0f} MB")
    return words


def _tell(pipe: int, read, folder, allowed) -> None:
    """The forked process's part; does not return."""
    import resource  # POSIX only, as fork is

    told = False, "it could not be measured", 0
    try:
        os.setsid()
        most = _memory("VmSize") + 4 * MOST_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        _give_back_memory()
        before = _memory("VmRSS")
        found = check(read, folder, *allowed)
        told = True, _in_words(found), _memory("VmHWM") - before
    except BaseException as error:
        told = False, f"{type(error).__name__}: {error}", 0
    finally:
        try:
            with open(pipe, "wb") as file:
                file.write(pickle.dumps(told))
        finally:  # a child that cannot tell must not go on as a second parent
            os._exit(0)


def _in_words(found: object) -> str:
    return f"{type(found).__name__}: {str(found)[:300]}"


def _give_back_memory() -> None:
    """What earlier tests freed would hide what this one takes; the peak is counted from here."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory(what: str) -> int:
    """Bytes of this process: VmSize, VmRSS, or VmHWM, the most that VmRSS ever was."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{what}:")[1].split()[0]) << 10


@contextlib.contextmanager
def _stopped_after(seconds: float) -> Iterator[None]:
    def stop(*_):
        raise BrokenRuleError(f"it took over {seconds:.1f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Audit events, whose hooks see what any library does; one that is set is there for good.

_place: Path | None = None
_found: list[str] = []
# Which arguments of an event name what is changed.
_CHANGES = {
    **dict.fromkeys(("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"), (0,)),
    **dict.fromkeys(("os.chmod", "os.chown", "os.utime"), (0,)),
    **dict.fromkeys(("os.link", "os.symlink", "shutil.copyfile"), (1,)),
    **dict.fromkeys(("os.rename", "shutil.move"), (0, 1)),
}
_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _hook(event: str, arguments: tuple) -> None:
    if _place is None:
        return
    if event in _PROGRAMS:
        _found.append(f"{event} {str(arguments)[:200]}")
    elif event == "socket.connect":
        address = arguments[1]
        if not isinstance(address, tuple) or address[0] not in ("127.0.0.1", "::1"):
            _found.append(f"{event} {address}")
    elif event == "open" and (arguments[2] or 0) & _WRITES:
        _note(event, arguments[0])
    else:
        for which in _CHANGES.get(event, ()):
            _note(event, arguments[which])


def _note(event: str, path: object) -> None:
    if isinstance(path, int):  # a descriptor, which was opened before
        return
    real = os.path.realpath(os.fsdecode(path))
    if real == os.path.realpath(os.devnull):
        return
    if not real.endswith(".pyc") and not Path(real).is_relative_to(_place):
        _found.append(f"{event} {real}")


sys.addaudithook(_hook)


@contextlib.contextmanager
def _watched(folder: Path) -> Iterator[None]:
    global _place
    _found.clear()
    _place = Path(os.path.realpath(folder))
    try:
        yield
    finally:
        _place = None
    if _found:
        raise BrokenRuleError(f"it reached outside {folder}: {_found[0]}")


# Bytes to try


def mutated(raw: bytes, hot: list[int] | None = None) -> st.SearchStrategy[bytes]:
    """`raw` with one to six changes; half of them at the places `hot`, where there are any."""
    anywhere = st.integers(0, max(len(raw) - 1, 0))
    place = st.one_of(anywhere, st.sampled_from(hot)) if hot else anywhere
    change = st.tuples(st.integers(0, 7), place, st.integers(0, 255), st.integers(1, 64))
    return st.lists(change, min_size=1, max_size=6).map(lambda changes: _changed(raw, changes))


_TELLING = [0, 1, 0x7F, 0x80, 0xFF]


def _changed(raw: bytes, changes: list[tuple[int, int, int, int]]) -> bytes:
    """Each change is (kind, place, value, length)."""
    new = bytearray(raw)
    for kind, place, value, length in changes:
        place = min(place, len(new))
        end = place + length
        if kind <= 1:
            new[place : place + 1] = bytes([value])
        elif kind == 2:
            new[place : place + 1] = bytes([_TELLING[value % 5]])
        elif kind == 3:
            new[place : place + 4] = bytes([_TELLING[value % 5]]) * 4
        elif kind == 4:
            del new[place:end]
        elif kind == 5:
            new[place:place] = new[place:end]
        elif kind == 6:
            new[place:place] = bytes([value]) * length
        else:
            del new[place:]
    return bytes(new)
