"""What `--bench` means: a name in the catalogue, a file of the data folder, or a path."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from ..data_tools.pairs import PairSet, from_bin
from ..errors import FacekdError, did_you_mean
from .catalogue import CATALOGUE, Entry, ijb_files
from .synthetic_bench import SYNTHETIC, SYNTHETIC_SOURCE, synthetic_pairs

if TYPE_CHECKING:
    from ..data_tools.ijb import IjbName, TemplatePairs, TemplateSearch
    from ..data_tools.labelled import LabelledImages
    from ..data_tools.pair_files import CfpProtocol

DATA_VARIABLE = "FACEKD_DATA"
ALL_PAIRS = "all"
SEARCH = "1n"
BenchKind = Literal["synthetic", "bin", "lfw", "cfp", "csv", "ijb", "ijb_1n", "labelled"]
_SUFFIXES: dict[str, BenchKind] = {
    ".bin": "bin",
    ".csv": "csv",
    ".txt": "lfw",
    ".rec": "labelled",
}
_IJB_NAMES: tuple["IjbName", ...] = ("ijbb", "ijbc")


@dataclass(frozen=True)
class Bench:
    """Something to evaluate on, found but not yet read.

    Attributes:
        name: What tables call it.
        path: Its file or folder; None for the synthetic bench.
        kind: How it is read.
        option: Of a pair list the folder its images lie in, CFP's protocol, IJB's name; "" where
            there is nothing to say.
    """

    name: str
    path: Path | None = None
    kind: BenchKind = "bin"
    option: str = ""

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        return SYNTHETIC_SOURCE if self.path is None else str(self.path)

    def load(
        self, input_size: int, *, duplicates: bool = False, missing_ok: bool = False
    ) -> "PairSet | TemplatePairs | TemplateSearch | LabelledImages":
        """Read it; images are decoded later, one by one.

        Args:
            input_size: Side of the images that the synthetic bench draws, in pixels.
            duplicates: Keep pairs that are listed twice instead of refusing them.
            missing_ok: Count an image that is not there as a face that was not found.

        Raises:
            FacekdError: It cannot be read, or its numbers are not defined on it.
        """
        if self.path is None:
            return synthetic_pairs(input_size)
        if self.kind in ("ijb", "ijb_1n"):
            from ..data_tools.ijb import open_pairs, open_search

            name = cast("IjbName", self.option)
            if self.kind == "ijb_1n":
                return open_search(self.path, name, missing_ok)
            return open_pairs(self.path, name, duplicates, missing_ok)
        if self.kind == "labelled":
            from ..data_tools.labelled import open_labelled

            return replace(open_labelled(self.path), name=self.name)
        return _load_pairs(self, self.path, duplicates, missing_ok)

    def load_pairs(self, input_size: int) -> PairSet:
        """Read it as pairs of images, as the looks during training need them.

        Raises:
            FacekdError: It is something else; or as `load`.
        """
        loaded = self.load(input_size)
        if not isinstance(loaded, PairSet):
            raise FacekdError(
                f"bench {self.name} ({self.source}) is no list of image pairs; while training "
                "use one, such as lfw or synthetic, and measure this one with facekd-eval."
            )
        return loaded


def _load_pairs(bench: Bench, path: Path, duplicates: bool, missing_ok: bool) -> PairSet:
    if bench.kind == "bin":
        return from_bin(path, bench.name)
    from ..data_tools.pair_files import from_cfp, from_csv, from_lfw_pairs

    if bench.kind == "cfp":
        protocol = cast("CfpProtocol", bench.option)
        return from_cfp(path, protocol, name=bench.name, missing_ok=missing_ok)
    read = from_csv if bench.kind == "csv" else from_lfw_pairs
    root = Path(bench.option) if bench.option else None
    return read(path, root, name=bench.name, duplicates=duplicates, missing_ok=missing_ok)


def data_folder(given: str | Path | None = None) -> Path | None:
    """The data folder: the one given, else the one FACEKD_DATA names, else None.

    Raises:
        FacekdError: It is named, but is not a folder.
    """
    named = given or os.environ.get(DATA_VARIABLE)
    if not named:
        return None
    folder = Path(named)
    if not folder.is_dir():
        how = "--data" if given else DATA_VARIABLE
        raise FacekdError(
            f"{how} names {folder}, which is not a folder; give the one with the benches' files."
        )
    return folder


def find_bench(name: str, data: Path | None) -> Bench:
    """The bench of a name or path.

    A name is `synthetic`, one of the catalogue, or the stem of a `.bin` or `.csv` in the data
    folder or a folder in it (`DATA/name.bin` comes before `DATA/*/name.bin`), or a folder there.
    A path is a `.bin`, a `.rec`; a pair list `.csv` or `.txt`, or `LIST:FOLDER` with its images'
    folder or `.rec`; a folder that holds pairs.txt, CFP (`FOLDER:FF`, `FOLDER:FP`), IJB
    (`FOLDER:1n` for search) or one sub-folder a person; `PATH:all` for all pairs of a folder or
    `.rec`.

    Args:
        name: What the user typed.
        data: The data folder, if there is one.

    Raises:
        FacekdError: Nothing of that name, or two files; the message says where was looked, what
            the bench is and who hands it out.
    """
    if name == SYNTHETIC:
        return Bench(SYNTHETIC, None, "synthetic")
    path, option = _path_and_option(name)
    if os.sep in str(path) or path.suffix in _SUFFIXES:
        return _from_path(path, option)
    files = [] if data is None else _files(name, data)
    if len(files) > 1 and files[0].parent != data:
        both = " and ".join(map(str, files))
        raise FacekdError(f"bench {name!r} is both {both}; give the path of the one you mean.")
    if files:
        return replace(_from_path(files[0], ""), name=name)
    entry = CATALOGUE.get(name)
    if entry is not None:
        return _from_catalogue(entry, data)
    if data is not None and (data / path).is_dir():
        return _from_path(data / path, option)
    if path.exists():
        return _from_path(path, option)
    raise _unknown(name, data)


def describe_benches(data: Path | None) -> list[str]:
    """A line a bench: its name, whether it is there, what it is, where it is or was looked for."""
    lines = [_line(SYNTHETIC, "there", SYNTHETIC_SOURCE)]
    for entry in CATALOGUE.values():
        found = [] if data is None else entry.look(data)
        if not found:
            place = f"{data or 'DATA'}/{entry.places[0]}"
            lines.append(_line(entry.name, "missing", f"{entry.what}; {place}, {entry.size}"))
            continue
        gaps = ", ".join(entry.missing(found[0]))
        state = "in part" if gaps else "there"
        told = f"{found[0]} lacks {gaps}" if gaps else str(found[0])
        lines.append(_line(entry.name, state, f"{entry.what}; {told}"))
    own = [path for path in _all_files(data) if path.stem not in CATALOGUE]
    return lines + [_line(path.stem, "there", str(path)) for path in own]


def _line(name: str, state: str, told: str) -> str:
    return f"{name:<10} {state:<8} {told}"


def _all_files(data: Path | None) -> list[Path]:
    """The `.bin` files of the data folder and of the folders in it."""
    return [] if data is None else sorted([*data.glob("*.bin"), *data.glob("*/*.bin")])


def _files(name: str, data: Path) -> list[Path]:
    """The `.bin` or `.csv` files of that name; those in the data folder itself come first."""
    direct = [data / (name + suffix) for suffix in (".bin", ".csv")]
    below = [p for suffix in (".bin", ".csv") for p in sorted(data.glob(f"*/{name}{suffix}"))]
    return [path for path in direct if path.is_file()] or below


def _path_and_option(text: str) -> tuple[Path, str]:
    """`PATH` or `PATH:OPTION`."""
    path, colon, option = text.rpartition(":")
    if not colon or Path(text).exists():
        return Path(text), ""
    return Path(path), option


def _from_path(path: Path, option: str) -> Bench:
    if not path.exists():
        what = "file" if path.suffix in _SUFFIXES else "folder"
        raise FacekdError(f"bench {what} {path} is not there; check the path.")
    if option == ALL_PAIRS:
        return Bench(path.stem if path.is_file() else path.resolve().name, path, "labelled")
    if path.is_dir():
        return _from_folder(path, option)
    kind = _SUFFIXES.get(path.suffix)
    if kind is None:
        raise FacekdError(
            f"bench {path} is of no known kind; give a .bin, a .rec, a pair list (.csv, .txt) or a "
            "folder."
        )
    if option and (kind not in ("csv", "lfw") or not _holds_images(Path(option))):
        raise FacekdError(
            f"bench {path}:{option}: {option!r} is no folder of the images that a .csv or .txt "
            "lists, and no .rec of them; leave it out, or name one."
        )
    plain = path.name == "pairs.txt"
    return Bench(path.resolve().parent.name if plain else path.stem, path, kind, option)


def _holds_images(path: Path) -> bool:
    return path.is_dir() or (path.suffix == ".rec" and path.is_file())


def _from_folder(folder: Path, option: str) -> Bench:
    name = folder.resolve().name
    ijb = [n for n in _IJB_NAMES if (folder / ijb_files(n, False)[0]).is_file()]
    bench = Bench(name, folder, "labelled")
    options: tuple[str, ...] = ("", ALL_PAIRS)
    if ijb:
        search = option == SEARCH
        bench = Bench(
            f"{ijb[0]}_1n" if search else ijb[0], folder, "ijb_1n" if search else "ijb", ijb[0]
        )
        options = ("", SEARCH)
    elif (folder / "Protocol").is_dir():
        protocol = option or "FP"
        bench = Bench(f"cfp_{protocol.lower()}", folder, "cfp", protocol)
        options = ("", "FF", "FP")
    elif (folder / "pairs.txt").is_file():
        bench = Bench(name, folder / "pairs.txt", "lfw")
    elif any(folder.glob("*.bin")):
        raise FacekdError(
            f"bench {folder} is a folder of .bin files; give one of them, or the folder as --data."
        )
    if option not in options:
        known = " or ".join(f"{folder}:{one}" for one in options if one)
        raise FacekdError(f"bench {folder}:{option}: give {folder}, or {known}.")
    return bench


def _from_catalogue(entry: Entry, data: Path | None) -> Bench:
    found = [] if data is None else entry.look(data)
    if found:
        return replace(_from_path(found[0], entry.option), name=entry.name)
    if data is None:
        looked = (
            f"no data folder is known to look for {entry.places[0]} in (set {DATA_VARIABLE}, or "
            "give facekd-eval --data DIR)"
        )
    else:
        places = ", ".join(str(data / place) for place in entry.places)
        looked = f"none of {places} is there"
    raise FacekdError(f"bench {entry.name} ({entry.what}; {entry.size}): {looked}; {entry.owners}.")


def _unknown(name: str, data: Path | None) -> FacekdError:
    known = {SYNTHETIC, *CATALOGUE, *(path.stem for path in _all_files(data))}
    where = f" in {data} or a folder in it" if data else f", and no {DATA_VARIABLE} to look in"
    return FacekdError(
        f"bench {name!r} is no path and no known name: there is no {name}.bin or {name}.csv"
        f"{where}; {did_you_mean(name, known)}"
    )
