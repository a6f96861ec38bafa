import json
import math
import struct

import pytest
import torch
from safetensors.torch import save_file

from facekd.errors import FacekdError
from facekd.heads.classifier import Classifier, cosines_with, load_head, save_head, unit


def test_cosines_and_logits_equal_scalar_loops():
    torch.manual_seed(0)
    head = Classifier.from_weight(torch.randn(4, 3), torch.randn(4))
    z = torch.randn(5, 3)
    for i in range(5):
        for j in range(4):
            dot = sum(float(z[i, k]) * float(head.weight[j, k]) for k in range(3))
            lengths = math.hypot(*z[i].tolist()) * math.hypot(*head.weight[j].tolist())
            assert head.cosines(z)[i, j].item() == pytest.approx(dot / lengths, abs=1e-6)
            expected = dot + float(head.bias[j])
            assert head.logits(z)[i, j].item() == pytest.approx(expected, abs=1e-5)


def test_a_new_head_is_small_noise_that_learns():
    torch.manual_seed(0)
    head = Classifier(500, 64, bias=True)
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert (head.num_classes, head.embedding_dim, head.frozen) == (500, 64, False)
    assert torch.equal(head.bias, torch.zeros(500))
    assert Classifier(3, 2).bias is None


def test_a_frozen_head_takes_no_gradient_but_passes_it_on():
    head = Classifier.from_weight(torch.randn(4, 3), torch.randn(4))
    assert head.frozen
    assert not any(p.requires_grad for p in head.parameters())
    z = torch.randn(2, 3, requires_grad=True)
    head.cosines(z).square().sum().backward()
    assert z.grad.abs().sum() > 0
    assert head.weight.grad is None


def test_from_weight_copies():
    weight = torch.randn(4, 3)
    head = Classifier.from_weight(weight, frozen=False)
    assert not head.frozen
    weight.zero_()
    assert head.weight.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_length_zero_give_finite_numbers(dtype):
    weight = torch.randn(3, 4)
    weight[1] = 0
    head = Classifier.from_weight(weight, frozen=False)
    z = torch.randn(2, 4, dtype=dtype)
    z[0] = 0
    z.requires_grad_()
    cosines = head.cosines(z)
    assert cosines.dtype == torch.float32
    assert torch.equal(cosines[0], torch.zeros(3))
    assert cosines[1, 1] == 0
    (64 * cosines).sum().backward()
    assert z.grad.isfinite().all()
    assert head.weight.grad.isfinite().all()


def test_autocast_does_not_reach_the_head():
    torch.manual_seed(0)
    head = Classifier(50, 32, bias=True)
    z = torch.randn(4, 32)
    plain = head.cosines(z), head.logits(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = head.cosines(z), head.logits(z)
    assert torch.equal(plain[0], under[0])
    assert torch.equal(plain[1], under[1])


def test_unit_gradcheck():
    z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit, z)


def test_a_wrong_width_is_told():
    with pytest.raises(FacekdError, match="3-wide embeddings was given 5-wide"):
        Classifier(4, 3).cosines(torch.randn(2, 5))


@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [
        (torch.zeros(4), None, "must be"),
        (torch.zeros(0, 4), None, "must be"),
        (torch.zeros(4, 3), torch.zeros(3), "4 classes"),
        (torch.full((4, 3), math.nan), None, "NaN"),
        (torch.zeros(4, 3), torch.full((4,), math.inf), "NaN or infinity"),
    ],
)
def test_numbers_that_make_no_head(weight, bias, message):
    with pytest.raises(FacekdError, match=message):
        Classifier.from_weight(weight, bias)


@pytest.mark.parametrize("bias", [True, False])
def test_a_head_file_comes_back_as_it_was(tmp_path, bias):
    head = Classifier(5, 3, bias=bias)
    path = tmp_path / "deep" / "head.safetensors"
    save_head(path, head, "0123456789abcdef")
    again, label_map = load_head(path)
    assert label_map == "0123456789abcdef"
    assert again.frozen
    assert not load_head(path, frozen=False)[0].frozen
    assert again.state_dict().keys() == head.state_dict().keys()
    for name, tensor in head.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_a_head_file_written_by_hand_loads(tmp_path):
    """The bytes of format 1: safetensors with this metadata; they must load for ever."""
    header = json.dumps(
        {
            "__metadata__": {"format": "1", "label_map": "00ff"},
            "weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        }
    ).encode()
    body = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    path = tmp_path / "head.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + body)
    head, label_map = load_head(path)
    assert label_map == "00ff"
    assert head.weight.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"weight": torch.zeros(2, 3)}, None, "format 1"),
        ({"weight": torch.zeros(2, 3)}, {"format": "2", "label_map": "a"}, "format 1"),
        ({"weight": torch.zeros(2, 3)}, {"format": "1"}, "format 1"),
        ({"bias": torch.zeros(2)}, {"format": "1", "label_map": "a"}, "hold a weight"),
        (
            {"weight": torch.zeros(2, 3), "x": torch.zeros(2)},
            {"format": "1", "label_map": "a"},
            "hold a weight",
        ),
        ({"weight": torch.zeros(2)}, {"format": "1", "label_map": "a"}, "must be"),
    ],
)
def test_a_file_that_is_no_head_is_told(tmp_path, tensors, metadata, message):
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(FacekdError, match=message) as caught:
        load_head(path)
    assert "x.safetensors" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a head", b"\xff" * 64])
def test_bytes_that_are_no_safetensors_are_told(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(FacekdError, match="cannot read the head file"):
        load_head(path)


def test_a_missing_file_and_a_truncated_one_are_told(tmp_path):
    with pytest.raises(FacekdError, match="cannot read the head file"):
        load_head(tmp_path / "none.safetensors")
    path = tmp_path / "head.safetensors"
    save_head(path, Classifier(5, 3), "00")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FacekdError, match="cannot read the head file"):
        load_head(path)


# --- several centres a class --------------------------------------------------------------------


def many(classes=4, width=3, centres=2):
    weight = torch.randn(classes * centres, width, dtype=torch.float64)
    return Classifier.from_weight(weight, frozen=False, centres=centres)


def test_the_nearest_centre_gives_the_cosine_and_takes_the_gradient():
    torch.manual_seed(0)
    head = many()
    z = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    cosines = head.cosines(z)
    assert cosines.shape == (5, 4)
    assert head.centre_cosines(z).shape == (5, 4, 2)
    for i in range(5):
        for c in range(4):
            each = []
            for k in range(2):
                v, w = z[i].tolist(), head.weight[2 * c + k].tolist()
                dot = sum(x * y for x, y in zip(v, w, strict=True))
                each.append(dot / math.hypot(*v) / math.hypot(*w))
            assert cosines[i, c].item() == pytest.approx(max(each), rel=1e-12)
            (grad,) = torch.autograd.grad(cosines[i, c], head.weight, retain_graph=True)
            touched = grad.abs().sum(dim=1).nonzero().flatten().tolist()
            assert touched == [2 * c + each.index(max(each))]


def test_a_new_head_with_several_centres():
    head = Classifier(500, 64, centres=3)
    assert head.weight.shape == (1500, 64)
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert (head.num_classes, head.embedding_dim, head.centres) == (500, 64, 3)
    assert head.dominant.tolist() == [-1] * 500
    assert "dominant" not in Classifier(5, 4).state_dict()


def test_the_dominant_centres_make_a_plain_head():
    head = many()
    with pytest.raises(FacekdError, match="does not know which is the dominant"):
        head.with_dominant_centres()
    head.dominant.copy_(torch.tensor([1, 0, 0, 1]))
    plain = head.with_dominant_centres()
    assert plain.centres == 1
    assert torch.equal(plain.weight, head.weight[[1, 2, 4, 7]])
    assert not plain.frozen
    assert head.freeze().with_dominant_centres().frozen
    assert plain.with_dominant_centres() is plain


def test_what_several_centres_cannot_do_is_told():
    head, z = many(), torch.randn(2, 3)
    with pytest.raises(FacekdError, match="gives cosines and no linear logits"):
        head.logits(z)
    with pytest.raises(FacekdError, match="no one vector of a class"):
        head.class_vectors(torch.tensor([0, 1]))
    with pytest.raises(FacekdError, match="it has no bias"):
        Classifier(4, 3, bias=True, centres=2)
    with pytest.raises(FacekdError, match="8 rows cannot be 3 centres"):
        Classifier.from_weight(torch.randn(8, 3), centres=3)
    plain = Classifier(4, 3)
    assert torch.equal(plain.class_vectors(torch.tensor([2, 0])), plain.weight[[2, 0]])


def test_a_head_file_keeps_its_centres(tmp_path):
    head = many()
    head.dominant.copy_(torch.tensor([1, 0, 0, 1]))
    path = tmp_path / "head.safetensors"
    save_head(path, head, "ab")
    again, label_map = load_head(path)
    assert (again.centres, again.num_classes, label_map) == (2, 4, "ab")
    assert torch.equal(again.weight, head.weight)
    assert torch.equal(again.dominant, head.dominant)


@pytest.mark.parametrize(
    ("tensors", "centres", "message"),
    [
        ({}, "2", "hold a weight and a dominant"),
        ({"bias": torch.zeros(2)}, "2", "hold a weight and a dominant"),
        ({"dominant": torch.zeros(2, dtype=torch.int64)}, "1", "perhaps a bias"),
        ({"dominant": torch.zeros(3, dtype=torch.int64)}, "2", "it has 2 classes"),
        ({"dominant": torch.zeros(2)}, "2", "torch.float32"),
        ({"dominant": torch.full((2,), 2)}, "2", "not among a class's 2"),
        ({"dominant": torch.zeros(2, dtype=torch.int64)}, "3", "4 rows cannot be 3"),
        ({}, "0", "4 rows cannot be 0"),
        ({}, "two", "number of centres is 'two'"),
    ],
)
def test_a_file_whose_centres_do_not_fit_is_told(tmp_path, tensors, centres, message):
    path = tmp_path / "x.safetensors"
    metadata = {"format": "1", "label_map": "a", "centres": centres}
    save_file({"weight": torch.zeros(4, 3), **tensors}, path, metadata=metadata)
    with pytest.raises(FacekdError, match=message) as caught:
        load_head(path)
    assert "x.safetensors" in str(caught.value)


def test_the_gradient_of_cosines_is_that_of_their_definition():
    rng = torch.Generator().manual_seed(3)
    embeddings = torch.randn(4, 5, generator=rng, dtype=torch.float64).requires_grad_()
    weight = torch.randn(7, 5, generator=rng, dtype=torch.float64)
    weight[2] = 0.0
    weight[3] *= 1e-8  # counts as zero
    weight.requires_grad_()
    pull = torch.randn(4, 7, generator=rng, dtype=torch.float64)
    lengths = weight.norm(dim=1).clamp_min(1e-6)
    expected = embeddings @ weight.T / (embeddings.norm(dim=1, keepdim=True) * lengths)
    found = cosines_with(embeddings, weight)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    inputs = [embeddings, weight]
    for a, b in zip(
        torch.autograd.grad(found, inputs, pull),
        torch.autograd.grad(expected, inputs, pull),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
