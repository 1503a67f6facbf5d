"""Shared by all tests: the hypothesis profile, and the array library as a fixture."""

import signal

import numpy as np
import pytest
from hypothesis import Phase, settings

settings.register_profile("minivit", max_examples=20, deadline=None, derandomize=True)
# One failure is enough for a mutant, so examples are not shrunk. See tests/mutants.py.
settings.register_profile(
    "mutants", settings.get_profile("minivit"), phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("minivit")


@pytest.fixture(scope="session", autouse=True)
def _default_signal_handlers():
    """The tests may be started with signals ignored (nohup, a background job of a shell); a
    training run that a test sends a signal to must not inherit that."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            default = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
            signal.signal(number, default)


@pytest.fixture(scope="session", autouse=True)
def _isolated_data_folder(tmp_path_factory):
    """Tests neither see the user's data sets nor leave any there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIVIT_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def cupy():
    """CuPy, if it is installed and finds a GPU; otherwise the test is skipped."""
    cupy = pytest.importorskip("cupy")
    from minivit.backend.arrays import count_gpus

    if not count_gpus():
        pytest.skip("no NVIDIA GPU")
    return cupy


@pytest.fixture(params=["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request):
    """NumPy, and CuPy if there is a GPU (`pytest -m gpu` runs only CuPy)."""
    return np if request.param == "numpy" else request.getfixturevalue("cupy")
