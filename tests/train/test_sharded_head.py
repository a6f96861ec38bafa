"""What training does with a head that is spread over processes: its gradient's norm, its file."""

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from two_processes import run_together

from facekd.errors import FacekdError
from facekd.heads import Classifier, ShardedClassifier, load_head
from facekd.heads.drawn_rows import drawn_rows
from facekd.train.clipping import clip_gradients
from facekd.train.head_file import write_head

SCRIPT = """
from pathlib import Path
from facekd.heads import Classifier, ShardedClassifier
from facekd.train import head_file
from facekd.train.clipping import clip_gradients

head_file._AT_ONCE = 3
rng = torch.Generator().manual_seed(0)
weight, bias = torch.randn(11, 4, generator=rng), torch.randn(11, generator=rng)
for name, whole in (("both", Classifier.from_weight(weight, bias)),
                    ("weight", Classifier.from_weight(weight))):
    head_file.write_head(Path("FOLDER", name), ShardedClassifier.part_of(whole), "aaaa")
head_file.write_head(Path("FOLDER", "plain"), Classifier.from_weight(weight), "aaaa")

shared = torch.nn.Parameter(torch.zeros(3))
shared.grad = torch.tensor([1.0, 2.0, 2.0])
own = torch.nn.Parameter(torch.zeros(2))
own.grad = torch.tensor([[4.0, 0.0], [6.0, 12.0]])[rank]
result["norm"] = clip_gradients({"shared": shared, "own": own}, 1.0, {"own"})
result["shared"], result["own"] = shared.grad.clone(), own.grad
own.grad = torch.tensor([[0.0, 0.0], [torch.inf, 0.0]])[rank]
result["infinite"] = clip_gradients({"shared": shared, "own": own}, torch.inf, {"own"})
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    (folder / "heads").mkdir()
    return folder / "heads", run_together(SCRIPT.replace("FOLDER", f"{folder}/heads"), folder)


def test_the_file_of_a_spread_head_is_that_of_the_whole(two):
    folder = two[0]
    rng = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(11, 4, generator=rng), torch.randn(11, generator=rng)
    for name in ("both", "weight", "plain"):
        head, label_map = load_head(folder / name)
        assert label_map == "aaaa"
        assert torch.equal(head.weight, weight)
        assert (head.bias is not None) == (name == "both")
    both, _ = load_head(folder / "both")
    assert torch.equal(both.bias, bias)
    assert sorted(path.name for path in folder.iterdir()) == ["both", "plain", "weight"]


def test_one_process_writes_it_too_and_a_head_that_cannot_be_written_is_told(tmp_path):
    head = ShardedClassifier(5, 3, bias=True)
    write_head(tmp_path / "head", head, "bbbb")
    found, _ = load_head(tmp_path / "head")
    assert torch.equal(found.weight, head.weight)
    (tmp_path / "file").touch()
    with pytest.raises(FacekdError, match="cannot write"):
        write_head(tmp_path / "file" / "head", head, "bbbb")


def test_the_norm_is_over_all_processes_rows_and_all_scale_alike(two):
    for place, each in enumerate(two[1]):
        assert each["norm"].item() == pytest.approx((9 + 16 + 36 + 144) ** 0.5)
        scale = 1 / (205**0.5 + 1e-6)
        torch.testing.assert_close(each["shared"], scale * torch.tensor([1.0, 2.0, 2.0]))
        own = torch.tensor([[4.0, 0.0], [6.0, 12.0]])[place]
        torch.testing.assert_close(each["own"], scale * own)
        assert not each["infinite"].isfinite()


@pytest.mark.parametrize("bound", [0.5, 1e3, torch.inf])
def test_alone_it_is_torchs_and_sparse_gradients_count_by_their_sums(bound):
    dense, torchs = torch.nn.Parameter(torch.ones(6, 2)), torch.nn.Parameter(torch.ones(6, 2))
    for parameter in (dense, torchs):
        (parameter.cumsum(0) ** 2).sum().backward()
    assert torch.equal(clip_gradients({"a": dense}, bound), clip_grad_norm_([torchs], bound))
    assert torch.equal(dense.grad, torchs.grad)
    sparse = torch.nn.Parameter(torch.ones(6, 2))
    for drawn in (torch.tensor([0, 4]), torch.tensor([3, 4])):  # two passes of a step
        (drawn_rows(sparse, drawn) * torch.tensor([3.0, 0.0])).sum().backward()
    norm = clip_gradients({"a": sparse}, bound)
    assert norm.item() == pytest.approx((9 + 36 + 9) ** 0.5)
    kept = min(1.0, bound / norm.item())
    expected = torch.zeros(6, 2)
    expected[[0, 3, 4], 0] = torch.tensor([3.0, 3.0, 6.0]) * kept
    torch.testing.assert_close(sparse.grad.to_dense(), expected)


def test_several_centres_of_a_class_cannot_be_spread():
    with pytest.raises(FacekdError, match="this head has 3"):
        ShardedClassifier.part_of(Classifier(4, 2, centres=3))
