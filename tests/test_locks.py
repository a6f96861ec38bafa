"""Locks between processes: of files and of folders, waited for or not."""

import errno
import fcntl
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from facekd.errors import FacekdError
from facekd.locks import held, lock, locked


@contextmanager
def held_elsewhere(path):
    """Another process has the lock of a file or folder."""
    code = (
        "import os, sys\nfrom facekd.locks import lock\n"
        "path = sys.argv[1]\n"
        "how = os.O_RDONLY if os.path.isdir(path) else os.O_RDWR | os.O_CREAT\n"
        "print(lock(os.open(path, how)), flush=True)\nsys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "True\n"
        yield other
        other.kill()


def open_to_lock(path):
    return os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT)


@pytest.mark.parametrize("name", [".", "file.lock"])
def test_one_process_at_a_time(tmp_path, name):
    path = tmp_path / name
    with held_elsewhere(path) as other:
        handle = open_to_lock(path)
        assert not lock(handle)
        other.kill()  # and the lock is free
        assert lock(handle, wait=True)
        os.close(handle)


def test_a_lock_file_is_waited_for_or_not(tmp_path, capsys):
    path = tmp_path / "below" / "a.lock"
    with locked(path) as mine, locked(path.with_name("b.lock"), waiting="wait"):
        assert mine
    with held_elsewhere(path) as other:
        with locked(path) as mine:
            assert not mine
        with pytest.raises(FacekdError, match="taken"), held(path, "taken"):
            pytest.fail("both have it")
        assert capsys.readouterr().out == ""
        other.stdin.close()  # it ends
        with locked(path, waiting="one moment") as mine:
            assert mine
    assert capsys.readouterr().out in ("one moment\n", "")


@pytest.mark.parametrize("name", [".", "file.lock"])
@pytest.mark.parametrize("code", [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_work_goes_on(tmp_path, monkeypatch, name, code):
    def none(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", none)
    monkeypatch.setattr(fcntl, "lockf", none)
    handle = open_to_lock(tmp_path / name)
    assert lock(handle)
    assert lock(handle, wait=True)
    os.close(handle)


def test_what_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(FacekdError, match="cannot write"), locked(tmp_path / "file" / "a.lock"):
        pytest.fail("it is there")

    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "lockf", broken)
    with (
        pytest.raises(FacekdError, match=r"cannot lock .*Input/output"),
        locked(tmp_path / "a.lock"),
    ):
        pytest.fail("it is locked")
