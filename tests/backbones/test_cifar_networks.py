"""The networks of small images against the authors' code; networks with their own width."""

import pytest
import torch

from facekd.backbones import create_backbone, usual_size, usual_width
from facekd.errors import FacekdError
from facekd.model import FaceModel
from facekd.preprocess import STATISTICS, Preprocess


def test_width_and_size_of_its_own():
    assert (usual_width("resnet20"), usual_size("resnet20")) == (64, 32)
    assert (usual_width("mobilefacenet"), usual_size("mobilefacenet")) == (512, 112)
    assert create_backbone("resnet8", 64).embedding_dim == 64
    with pytest.raises(FacekdError, match=r"'resnet8' has a width of its own, 64, .* 512;"):
        create_backbone("resnet8", 512)
    with pytest.raises(FacekdError, match="input_size 3 is below 4 pixels"):
        create_backbone("resnet8", input_size=3)
    with pytest.raises(FacekdError, match="has no argument 'width'"):
        create_backbone("resnet8", width=0.5)


def test_a_model_with_mean_and_deviation_comes_back_from_its_file(tmp_path):
    mean, std = STATISTICS["cifar100"]
    model = FaceModel.create("resnet8", mean=mean, std=std).eval()
    assert (model.embedding_dim, model.preprocess.input_size) == (64, 32)
    model.save(tmp_path / "net.pt")
    again = FaceModel.load(tmp_path / "net.pt")
    assert again.preprocess == model.preprocess == Preprocess(32, (0.0, 1.0), "rgb", mean, std)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(again(images), model(images))
        torch.testing.assert_close(model(images[:, :, :30, :30]).shape, torch.Size([2, 64]))
