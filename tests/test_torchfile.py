"""Torch files that hold more than plain weights, or are of other kinds: what is said of them."""

import io
import pickle
import tarfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from facekd import load_model
from facekd.cli.model import main
from facekd.errors import FacekdError
from facekd.torchfile import read_torch


class Network(torch.nn.Module):
    """As somebody's own program has one."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize(
    ("content", "named"),
    [
        (Network(), "test_torchfile.Network"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"state_dict": {}, "callbacks": {Network: 1}}, "test_torchfile.Network"),
        ({"state_dict": {}, "out": Path("x")}, "pathlib.PosixPath"),
    ],
)
def test_pickled_objects_are_named_with_the_remedy(tmp_path, capsys, content, named, zipped):
    path = tmp_path / "net.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert main(["import", str(path), str(tmp_path / "ours.pt")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{path} holds objects or code, none of which was run (such as {named})" in told
    assert "torch.load(FILE, weights_only=False).state_dict(), 'weights.pt')" in told
    assert not (tmp_path / "ours.pt").exists()


def test_the_remedy_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(Network(), "net.pt")
    torch.save(torch.load("net.pt", weights_only=False).state_dict(), "weights.pt")
    assert list(read_torch(Path("weights.pt"))) == ["linear.weight", "linear.bias"]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript(tmp_path):
    path = tmp_path / "scripted.pt"
    torch.jit.trace(Network().linear, torch.zeros(1, 2)).save(path)
    with pytest.raises(FacekdError, match=r"is a TorchScript program, .*torch\.jit\.load\(FILE\)"):
        load_model(path)


def test_the_first_versions_tar_format(tmp_path):
    path = tmp_path / "old.pth"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps({})
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with pytest.raises(FacekdError, match=r"tar format of PyTorch's first versions; .*weights\.pt"):
        load_model(path)


def test_weights_from_before_version_1_6_are_read(tmp_path):
    weights = OrderedDict(a=torch.arange(3.0))
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_torch(tmp_path / "old.pth")["a"], weights["a"])
