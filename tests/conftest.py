"""Settings and fixtures of all tests: the same examples in every run, no fight over the cores, one tiny model."""

from __future__ import annotations

import collections
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.needs import NEEDS

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: more threads slow small tensors down
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background

BUSY = [HealthCheck.too_slow]  # a busy machine is no fault of what is tested
settings.register_profile("phonybrains", derandomize=True, deadline=None, database=None, suppress_health_check=BUSY)
settings.load_profile("phonybrains")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="skip what needs a browser, a database server or a proxy")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"needs(*names): skipped where one of these is missing: {', '.join(NEEDS)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs something that is not here, or a program if --quick is given; whole workflows come first.

    A workflow takes a minute or two: at the end one worker would wait for the other's.
    """
    items.sort(key=lambda item: item.path.parent.name != "workflows")
    quick = config.getoption("--quick")
    for item in items:
        for name in (name for marker in item.iter_markers("needs") for name in marker.args):
            need = NEEDS[name]
            if (quick and need.is_program) or not need.is_here():
                item.add_marker(pytest.mark.skip(reason=f"needs {name}: {need.how}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was skipped, why, and how to have it."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = collections.Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason}")


@pytest.fixture(autouse=True)
def _accelerate_as_new() -> Iterator[None]:
    """What a test leaves of accelerate's state, which is global to the process, is no other test's."""
    yield
    if state := sys.modules.get("accelerate.state"):
        state.AcceleratorState._reset_state(reset_partial_state=True)


@contextmanager
def one_at_a_time(folder: Path, name: str) -> Iterator[Path]:
    """Let one pytest-xdist worker at a time make what all of them use."""
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / name


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of one run have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def phantom_corpus(shared_folder: Path) -> Path:
    """48 phantoms at 64×64, MR and CT, as an image set. Made once; do not change it, copy it."""
    from phonybrains.phantom.corpus import make_phantoms

    with one_at_a_time(shared_folder, "phantoms") as out:
        return make_phantoms(48, out, size=64)


@pytest.fixture(scope="session")
def tiny_model(shared_folder: Path, phantom_corpus: Path) -> Path:
    """The folder of a model trained with the tiny preset on the phantoms, conditions plane, hemorrhage and age_years.

    All values are kept, as twelve heads are too few to withdraw any. Trained once (seconds); do not change it, copy it.
    """
    from phonybrains.training.config import load_train_config
    from phonybrains.training.stage import train

    config = load_train_config(
        "tiny", conditions=("plane", "hemorrhage", "age_years"), min_patients=0, precision="fp32"
    )
    with one_at_a_time(shared_folder, "tiny") as out:
        return train(phantom_corpus, out, config, show=False)


@pytest.fixture(scope="session")
def masked_corpus(shared_folder: Path) -> Path:
    """The phantoms of phantom_corpus with the masks of their lesions, empty where a slice shows none."""
    from phonybrains.phantom.corpus import make_phantoms

    with one_at_a_time(shared_folder, "masked-phantoms") as out:
        return make_phantoms(48, out, size=64, masks="lesion")


@pytest.fixture(scope="session")
def masked_model(shared_folder: Path, masked_corpus: Path) -> Path:
    """The folder of tiny_model's like that takes masks, with weights disturbed so that it listens to them."""
    import torch

    from phonybrains.model.latent_diffusion import LatentDiffusion
    from phonybrains.training.stage import train
    from tests.support.tiny_training import NAMES, micro

    with one_at_a_time(shared_folder, "masked") as out:
        trained = train(masked_corpus, out, micro(masks=True, conditions=NAMES, min_patients=0), show=False)
        stirred = out.with_name("masked-stirred")
        if not stirred.is_dir():
            model = LatentDiffusion.load(trained)
            for network in filter(None, (model.denoiser, model.few_step)):
                for parameter in network.parameters():
                    noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
                    parameter.add_(noise * 0.05)
            model.save(stirred)
            for name in ("record.json", "README.md"):
                (stirred / name).write_bytes((trained / name).read_bytes())
        return stirred
