"""Shared set-up: tests import the installed package and the helpers beside them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def fresh_inductor_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Inductor's cache knows a graph by its operators' names: code that it compiled for an earlier
    build of ours would be run, and the compilation of today's never tried."""
    with pytest.MonkeyPatch.context() as environment:
        folder = tmp_path_factory.mktemp("inductor")
        environment.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
        yield


def pytest_runtest_setup() -> None:
    """The weights and inputs of a test are the same in every run, whatever ran before it."""
    torch.manual_seed(0)
