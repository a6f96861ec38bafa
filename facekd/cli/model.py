"""`facekd-model`: networks' files: look into them, import and export, describe and measure them."""

from collections.abc import Sequence

from facekd.cli._subcommands import run_subcommand

_COMMANDS = ("bench", "card", "export", "import", "import-head", "info", "verify")

_EXAMPLES = """examples:
  facekd-model info student.pt
  facekd-model info teacher.onnx --json
  facekd-model import backbone.pth teacher.pt           # of insightface, AdaFace, FaceX-Zoo ...
  facekd-model import-head checkpoint_gpu_*.pt r50.head.safetensors --data train.rec
  facekd-model export student.pt --onnx student.onnx    # and INT8, fp16, torch.export, safetensors
  facekd-model card student.pt --report runs/eval/lfw
  facekd-model bench student.pt teacher.onnx            # time, memory, multiply-accumulates
  facekd-model verify a.jpg b.jpg --model student.pt --detector yunet.onnx --report runs/eval/lfw
  facekd-model COMMAND --help                           # more of each command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `facekd-model`; returns the exit code."""
    what = "Look into networks' files, import and export, describe, measure and try them."
    return run_subcommand(argv, "facekd-model", _COMMANDS, what, _EXAMPLES)
