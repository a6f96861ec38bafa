"""Whose networks are read: under which names their weights stand, and what input they take.

Every family here computes the same function as `mobilefacenet` or `iresnet`; they differ in the
names of their weights, the order of the input's channels, its range, and a few numbers.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from facekd.backbones.iresnet import DEPTHS
from facekd.preprocess import Channels

State = Mapping[str, torch.Tensor]
Names = Callable[[str], str]
"""Our name of a weight to theirs."""

UNIT_RANGE = (-1.0, 1.0)
BY_128 = (-127.5 / 128, 127.5 / 128)  # (x - 127.5) / 128


class UnlikeError(Exception):
    """Why weights are not of a family; finishes the sentence "tried <family>, ..."."""


@dataclass(frozen=True)
class Family:
    """One software's networks of one kind.

    Attributes:
        name: The software, as a model's description remembers it.
        network: Which of ours it is.
        names: Of the weights in a file: our name of a weight to theirs; may raise UnlikeError.
        input_range: What pixel values 0 and 255 become.
        channels: Order of the input's channels.
        kwargs: Our network's arguments in which it differs from ours.
        wrapper: What stands before every name in its files, where that tells it from another.
        refused: Weights of variants that are not read, and what to say of them.
    """

    name: str
    network: Literal["mobilefacenet", "iresnet"]
    names: Callable[[State], Names]
    input_range: tuple[float, float] = UNIT_RANGE
    channels: Channels = "rgb"
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrapper: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)


def _ours(_: State) -> Names:
    """arcface_torch's names, which are ours."""
    return lambda key: key


def _by_rules(rules: Sequence[tuple[str, str]]) -> Callable[[State], Names]:
    """Names by substitutions, each made once in a name at most, one after the other."""
    compiled = [(re.compile(pattern), into) for pattern, into in rules]

    def theirs(key: str) -> str:
        for pattern, into in compiled:
            key = pattern.sub(into, key, count=1)
        return key

    return lambda _: theirs


def _conv_names(tail: str) -> Callable[[State], Names]:
    """MobileFaceNet where its layers are called conv1, conv2_dw, conv_23; `tail` leads the last."""
    return _by_rules(
        [
            (r"^layers\.0\.layers", "conv1"),
            (r"^layers\.1\.layers", "conv2_dw"),
            (r"^layers\.2\.", "conv_23."),
            (r"^layers\.4\.", "conv_34."),
            (r"^layers\.6\.", "conv_45."),
            (r"^layers\.3\.layers", "conv_3.model"),
            (r"^layers\.5\.layers", "conv_4.model"),
            (r"^layers\.7\.layers", "conv_5.model"),
            (r"\.layers\.0\.layers\.", ".conv."),
            (r"\.layers\.1\.layers\.", ".conv_dw."),
            (r"\.layers\.2\.layers\.", ".project."),
            (r"^conv_sep\.layers", "conv_6_sep"),
            (r"^features\.conv\.", f"{tail}conv_6_dw."),
            (r"^features\.layers\.2\.", f"{tail}linear."),
            (r"^features\.layers\.3\.", f"{tail}bn."),
            (r"\.0\.weight$", ".conv.weight"),
            (r"\.1\.(\w+)$", r".bn.\1"),
            (r"\.2\.weight$", ".prelu.weight"),
        ]
    )


_MXNET_BATCH_NORM = [  # after a dot; MXNet has one underscore for every dot
    (r"\.weight$", "_gamma"),
    (r"\.bias$", "_beta"),
    (r"\.running_", "_moving_"),
    (r"\.num_batches_tracked$", "_num_batches_tracked"),
]

_mxnet_mobilefacenet = _by_rules(
    [
        (r"^layers\.0\.layers", "conv_1"),
        (r"^layers\.1\.layers\.(\d+)\.layers", r"res_2_block\1"),
        (r"^layers\.1\.layers", "conv_2_dw"),
        (r"^layers\.2\.", "dconv_23."),
        (r"^layers\.4\.", "dconv_34."),
        (r"^layers\.6\.", "dconv_45."),
        (r"^layers\.3\.layers\.", "res_3_block"),
        (r"^layers\.5\.layers\.", "res_4_block"),
        (r"^layers\.7\.layers\.", "res_5_block"),
        (r"(?<=\d)(\.layers)?\.0\.layers\.", "_conv_sep."),
        (r"(?<=\d)(\.layers)?\.1\.layers\.", "_conv_dw."),
        (r"(?<=\d)(\.layers)?\.2\.layers\.", "_conv_proj."),
        (r"^conv_sep\.layers", "conv_6sep"),
        (r"^features\.layers\.0\.layers", "conv_6dw7_7"),
        (r"^features\.layers\.2\.weight", "pre_fc1_weight"),
        (r"^features\.layers\.3\.", "fc1."),
        (r"\.0\.weight$", "_conv2d_weight"),
        (r"\.2\.weight$", "_relu_gamma"),
        (r"\.1\.", "_batchnorm."),
        *_MXNET_BATCH_NORM,
    ]
)


def _mxnet_lresnet(_: State) -> Names:
    rules = _by_rules(
        [
            (r"^conv1\.weight", "conv0_weight"),
            (r"^prelu\.weight", "relu0_gamma"),
            (r"^bn1\.", "bn0."),
            (r"^bn2\.", "bn1."),
            (r"^fc\.", "pre_fc1_"),
            (r"^features\.", "fc1."),
            (r"\.prelu\.weight", "_relu1_gamma"),
            (r"\.(conv\d)\.weight", r"_\1_weight"),
            (r"\.downsample\.0\.weight", "_conv1sc_weight"),
            (r"\.downsample\.1\.", "_sc."),
            (r"\.(bn\d)\.", r"_\1."),
            *_MXNET_BATCH_NORM,
        ]
    )(_)

    def theirs(key: str) -> str:
        return rules(
            re.sub(r"^layer(\d)\.(\d+)", lambda m: f"stage{m[1]}_unit{int(m[2]) + 1}", key)
        )

    return theirs


_ir_parts = _by_rules(
    [
        (r"^conv1\.", "input_layer.0."),
        (r"^bn1\.", "input_layer.1."),
        (r"^prelu\.", "input_layer.2."),
        (r"^bn2\.", "output_layer.0."),
        (r"^fc\.", "output_layer.3."),
        (r"^features\.", "output_layer.4."),
        (r"\.bn1\.", ".res_layer.0."),
        (r"\.conv1\.", ".res_layer.1."),
        (r"\.bn2\.", ".res_layer.2."),
        (r"\.prelu\.", ".res_layer.3."),
        (r"\.conv2\.", ".res_layer.4."),
        (r"\.bn3\.", ".res_layer.5."),
        (r"\.downsample\.", ".shortcut_layer."),
        (r"\.se_block\.", ".res_layer.se_block."),
    ]
)


def _ir(state: State) -> Names:
    """AdaFace's names: all stages' blocks stand in one list, so their number tells the stages."""
    numbers = [int(key.split(".")[1]) for key in state if re.match(r"body\.\d+\.", key)]
    total = max(numbers, default=-1) + 1
    blocks = next((depth for depth in DEPTHS.values() if sum(depth) == total), None)
    if blocks is None:
        raise UnlikeError(f"none of which has {total} blocks body.N" if total else "which has body")
    parts = _ir_parts(state)

    def block(match: re.Match[str]) -> str:
        stage, number = int(match[1]) - 1, int(match[2])
        inside = number < blocks[stage]
        return f"body.{sum(blocks[:stage]) + number}" if inside else f"no such block: {match[0]}"

    return lambda key: parts(re.sub(r"^layer(\d)\.(\d+)", block, key))


_IR: dict[str, Any] = {"network": "iresnet", "names": _ir, "kwargs": {"subsample": True}}

FAMILIES = (
    Family("arcface_torch", "mobilefacenet", _ours),
    Family("arcface_torch", "iresnet", _ours),
    Family("cvlface", wrapper="net", **_IR),
    Family("adaface", channels="bgr", **_IR),
    Family(
        "cavaface",
        "mobilefacenet",
        _conv_names("output_layer."),
        refused={
            "output_layer.bn1.running_mean": "it ends in norm-aware pooling (GNAP), and only "
            "networks that end in a global depthwise convolution (GDC) are read"
        },
    ),
    Family("facexzoo", "mobilefacenet", _conv_names(""), input_range=BY_128, channels="bgr"),
)

# Batch norm's eps is MXNet's default in the one, 2e-5 in the other
MXNET_EPS = 1e-3
MXNET_FAMILIES = (
    Family(
        "mxnet",
        "mobilefacenet",
        _mxnet_mobilefacenet,
        input_range=BY_128,
        kwargs={"bn_eps": MXNET_EPS},
    ),
    Family("mxnet", "iresnet", _mxnet_lresnet, input_range=BY_128, kwargs={"bn_eps": 2e-5}),
)
