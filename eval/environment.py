"""What the numbers were computed with: versions, machine, date."""

import os
import platform
import sys
from datetime import UTC, datetime

import numpy as np
import scipy

from .. import __version__


def environment() -> dict[str, str]:
    """Versions by name, the kind of machine and the date (UTC); torch only where it was used."""
    torch = sys.modules.get("torch")
    return {
        "facekd": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        **({"torch": str(torch.__version__)} if torch else {}),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
