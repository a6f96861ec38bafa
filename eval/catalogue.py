"""The field's benches: what they are, where facekd looks for them, who hands them out."""

from dataclasses import dataclass
from pathlib import Path

from ..data_tools.ijb import GALLERIES, IjbName

_PACKED = (
    "the .bin comes packed with insightface's training sets "
    "(https://github.com/deepinsight/insightface/tree/master/recognition/_datasets_)"
)
_NIST = (
    "NIST, who handed it out, stopped on 14 March 2023 "
    "(https://www.nist.gov/itl/iad/ig/face-challenges): give saved embeddings or scores of those "
    "who have it with --embeddings or --scores"
)


@dataclass(frozen=True)
class Entry:
    """One bench of the field.

    Attributes:
        name: What `--bench` calls it.
        what: What it is, in words.
        places: Where it is looked for below the data folder, the likeliest first; `*/` stands for
            any folder. A `.bin`, or a folder as its owners lay it out.
        size: How large it is, in words.
        owners: Who hands it out, in words.
        option: What to take of a folder: CFP's protocol, or "1n".
        files: What a folder holds, below it; without `loose_crop` saved embeddings still do.
    """

    name: str
    what: str
    places: tuple[str, ...]
    size: str
    owners: str
    option: str = ""
    files: tuple[str, ...] = ()

    def look(self, data: Path) -> list[Path]:
        """What there is of it below the data folder, the likeliest first."""
        found = [path for place in self.places for path in sorted(data.glob(place))]
        return [p for p in found if p.is_file() or len(self.missing(p)) < len(self.files)]

    def missing(self, path: Path) -> list[str]:
        """The files and folders that a folder lacks."""
        if path.is_file():
            return []
        return [file for file in self.files if not (path / file).exists()]


def ijb_files(name: IjbName, search: bool) -> tuple[str, ...]:
    """The files of a protocol below an IJB folder, without the images."""
    lists = (
        [f"1N_gallery_{gallery}.csv" for gallery in GALLERIES[name]] + ["1N_probe_mixed.csv"]
        if search
        else ["template_pair_label.txt"]
    )
    both = ["face_tid_mid.txt", "name_5pts_score.txt"]
    return tuple(f"meta/{name}_{file}" for file in both + lists)


def _ijb(name: IjbName, what: str, faces: str, *, search: bool) -> Entry:
    upper = name.upper()
    return Entry(
        name=f"{name}_1n" if search else name,
        what=what,
        places=(upper, name, f"*/{upper}", f"*/{name}"),
        size=faces,
        owners=_NIST,
        option="1n" if search else "",
        files=(*ijb_files(name, search), "loose_crop"),
    )


_CFP = ("Protocol/Pair_list_F.txt", "Protocol/Pair_list_P.txt")
_CFP_OWNERS = f"the photographs come from its authors (http://www.cfpw.io), {_PACKED}"
_IJBB_FACES = "meta/ and loose_crop/, 227,630 faces of 12,115 templates"
_IJBC_FACES = "meta/ and loose_crop/, 469,375 faces of 23,124 templates"

CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry(
            "lfw",
            "Labeled Faces in the Wild, 6,000 pairs",
            ("lfw.bin", "*/lfw.bin", "lfw"),
            "62 MB",
            "the photographs come from the University of Massachusetts "
            f"(http://vis-www.cs.umass.edu/lfw/), {_PACKED}",
            files=("pairs.txt",),
        ),
        Entry(
            "cfp_fp",
            "CFP, frontal against profile, 7,000 pairs",
            ("cfp_fp.bin", "*/cfp_fp.bin", "cfp-dataset", "cfp"),
            "76 MB",
            _CFP_OWNERS,
            option="FP",
            files=_CFP,
        ),
        Entry(
            "cfp_ff",
            "CFP, frontal against frontal, 7,000 pairs",
            ("cfp_ff.bin", "*/cfp_ff.bin", "cfp-dataset", "cfp"),
            "85 MB",
            _CFP_OWNERS,
            option="FF",
            files=_CFP,
        ),
        Entry(
            "agedb_30",
            "AgeDB with 30 years between the images, 6,000 pairs",
            ("agedb_30.bin", "*/agedb_30.bin"),
            "73 MB",
            "the photographs come from Imperial College's iBUG group "
            f"(https://ibug.doc.ic.ac.uk/resources/agedb/), {_PACKED}",
        ),
        Entry(
            "calfw",
            "Cross-Age LFW, 6,000 pairs",
            ("calfw.bin", "*/calfw.bin"),
            "71 MB",
            f"the photographs come from its authors (http://whdeng.cn/CALFW/), {_PACKED}",
        ),
        Entry(
            "cplfw",
            "Cross-Pose LFW, 6,000 pairs",
            ("cplfw.bin", "*/cplfw.bin"),
            "60 MB",
            f"the photographs come from its authors (http://whdeng.cn/CPLFW/), {_PACKED}",
        ),
        Entry(
            "vgg2_fp",
            "VGGFace2, frontal against profile, as insightface paired it",
            ("vgg2_fp.bin", "*/vgg2_fp.bin"),
            "57 MB",
            _PACKED,
        ),
        _ijb("ijbb", "IJB-B 1:1, 8,010,270 template pairs", _IJBB_FACES, search=False),
        _ijb("ijbc", "IJB-C 1:1, 15,658,489 template pairs", _IJBC_FACES, search=False),
        _ijb("ijbb", "IJB-B 1:N, galleries S1 and S2", _IJBB_FACES, search=True),
        _ijb("ijbc", "IJB-C 1:N, galleries G1 and G2", _IJBC_FACES, search=True),
    )
}
