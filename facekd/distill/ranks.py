"""What terms share between processes: `facekd.ranks`, where heads find it too."""

from facekd.ranks import gather, gather_own, mean, world

__all__ = ["gather", "gather_own", "mean", "world"]
