"""Fixtures every room of the tests shares."""

import os
from pathlib import Path

import hypothesis
import pytest

# no deadline for an example: other tests run beside it, and the machine may have other work
hypothesis.settings.register_profile("facekd", deadline=None)
hypothesis.settings.load_profile("facekd")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real files (faces, files other software wrote), where there is one."""
    folder = os.environ.get("FACEKD_TEST_DATA")
    if not folder:
        pytest.skip("FACEKD_TEST_DATA is not set: no real data on this machine")
    path = Path(folder).resolve()
    assert path.is_dir(), f"FACEKD_TEST_DATA={folder} is not a folder"
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes `data_dir` is a data test, marked or not."""
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker("data")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """With FACEKD_TEST_DATA set, a skipped data test is a failure: nothing hides behind a skip."""
    report = yield
    if (
        report.skipped
        and os.environ.get("FACEKD_TEST_DATA")
        and item.get_closest_marker("data") is not None
    ):
        report.outcome = "failed"
        report.longrepr = f"data test skipped although FACEKD_TEST_DATA is set: {report.longrepr}"
    return report
