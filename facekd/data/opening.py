"""The source that a recipe's data section names."""

from facekd.data.sources import Source, SyntheticSource, open_files
from facekd.data.unlabelled import Mixed, open_unlabelled
from facekd.recipe import Data


def open_source(data: Data, input_size: int) -> Source:
    """The labelled images, the unlabelled ones, or both.

    Raises:
        FacekdError: A file or folder is missing or of no known kind.
    """
    labelled: Source | None = None
    if data.source == "synthetic":
        s = data.synthetic
        labelled = SyntheticSource(s.identities, s.images_per_identity, input_size, s.seed)
    elif data.source != "none":
        labelled = open_files(data.source, data.on_bad_record, "data.source")
    if not data.unlabelled:
        assert labelled is not None  # the recipe's schema asks for one of the two
        return labelled
    unlabelled = open_unlabelled(data.unlabelled, data.on_bad_record)
    return unlabelled if labelled is None else Mixed(labelled, unlabelled)
