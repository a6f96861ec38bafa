"""What every command does around its work: errors in one line, exit codes, Ctrl-C."""

import os
import sys
from collections.abc import Callable

from facekd.errors import FacekdError


def run(work: Callable[[], int | None]) -> int:
    """Run a command's work; a FacekdError becomes one line on stderr and exit code 2.

    Ctrl-C exits with 130, a closed pipe (`| head`) quietly with 0. OpenCV's own complaints about
    an image are silenced (before cv2 is first imported): ours name the file and the record.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        return work() or 0
    except FacekdError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
