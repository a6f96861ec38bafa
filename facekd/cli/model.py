"""`facekd-model`: look at a network's file, and turn other software's weights into ours."""

from collections.abc import Sequence

from facekd.cli._subcommands import run_subcommand

_COMMANDS = ("info", "import")

_EXAMPLES = """examples:
  facekd-model info student.pt
  facekd-model info teacher.onnx --json
  facekd-model import backbone.pth teacher.pt           # insightface arcface_torch, MXNet .params
  facekd-model import bgr_net.pth teacher.pt --channels bgr
  facekd-model COMMAND --help                           # more of each command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `facekd-model`; returns the exit code."""
    what = "Look at a network's file, and turn other software's weights into ours."
    return run_subcommand(argv, "facekd-model", _COMMANDS, what, _EXAMPLES)
