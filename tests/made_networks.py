"""Small networks whose every number is drawn, batch norms' and PReLUs' too, for export tests."""

import torch
from torch import nn

from facekd.backbones import BACKBONES
from facekd.backbones.iresnet import IResNet
from facekd.model import FaceModel

SMALL = {"width": 0.125, "blocks": [1, 1, 1, 1]}


def drawn(name="mobilefacenet", dim=8, size=32, *, preprocess=None, **kwargs) -> FaceModel:
    """A network whose statistics and slopes are not those of a fresh one."""
    arguments = SMALL | kwargs if name == "mobilefacenet" else kwargs
    model = FaceModel.create(name, dim, size, **(preprocess or {}), **arguments)
    return stir(model).eval()


def small_iresnet(dim=8, size=32) -> FaceModel:
    """The family with one block a stage; its own names begin at two."""
    description = {
        "backbone": {"name": BACKBONES.canonical("r18"), "kwargs": {}},
        "embedding_dim": dim,
        "preprocess": {"input_size": size, "input_range": [-1.0, 1.0], "channels": "rgb"},
    }
    return stir(FaceModel(IResNet((1, 1, 1, 1), dim, size), description)).eval()


def stir(model: FaceModel, seed: int = 0) -> FaceModel:
    """Draw what training would have changed."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3, generator=rng)
                module.running_var.uniform_(0.5, 2, generator=rng)
                if module.affine:
                    module.weight.uniform_(0.5, 1.5, generator=rng)
                    module.bias.normal_(0, 0.3, generator=rng)
            elif isinstance(module, nn.PReLU):
                module.weight.uniform_(-0.2, 0.5, generator=rng)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                bound = (3 / module.weight[0].numel()) ** 0.5
                module.weight.uniform_(-bound, bound, generator=rng)
    return model
