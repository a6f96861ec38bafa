"""Embeddings of a bench's faces: from a network, once for all benches, or from a file."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facekd.cli._network import load_network
from facekd.cli._sources import Source
from facekd.data_tools.pairs import EncodedImages, PairSet
from facekd.errors import FacekdError
from facekd.eval.embeddings import Embeddings, open_embeddings
from facekd.eval.evaluate import Faces, LoadedBench, faces_of
from facekd.eval.together import Together

if TYPE_CHECKING:
    from facekd.embedder import Embedder

KEEP_FROM = 50_000  # faces from which embeddings are kept unasked: hours of work
SEARCH = "_1n"  # 1:1 and 1:N benches of one set share their faces


class FaceEmbeddings:
    """The networks of a command line, and what they made of the faces seen last.

    Args:
        arguments: The command line's.
        sources: Those that are networks are loaded.
        together: The processes that share the work.
        folder: Of the report; embeddings that are kept unasked go into it.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        sources: Sequence[Source],
        together: Together,
        folder: Path,
    ) -> None:
        self.arguments, self.together, self.folder = arguments, together, folder
        self.models: dict[str, Embedder] = {
            source.name: load_network(source.path, arguments)
            for source in sources
            if source.kind == "model"
        }
        self.made: dict[tuple[str, str], Embeddings] = {}

    @property
    def input_size(self) -> int:
        """Side of the largest input of a network; that of the field's where there is none."""
        return max((m.preprocess.input_size for m in self.models.values()), default=112)

    def of(self, source: Source, bench: LoadedBench) -> Embeddings:
        """One a face of the bench, in their order; other benches with the same faces share them."""
        faces = faces_of(bench)
        if source.kind == "embeddings":
            return self._saved(bench, faces, source.path)
        known = (source.name, faces.fingerprint or bench.name)
        if known not in self.made:
            kept = {key: value for key, value in self.made.items() if key[1] == known[1]}
            self.made = kept | {known: self._embed(bench, faces, source)}
        return self.made[known]

    def image_size(self, source: Source, bench: LoadedBench) -> str:
        """What size the first face has and is given to the network, in words."""
        faces = faces_of(bench)
        if source.kind != "model" or faces.images is None or faces.not_found == faces.count:
            return ""
        from facekd.eval.embed import image_sizes

        first = 0 if faces.missing is None else int(np.argmin(faces.missing))
        return image_sizes(faces.images, self.models[source.name], first)

    def _saved(self, bench: LoadedBench, faces: Faces, path: Path) -> Embeddings:
        """Embeddings from a file, in the order of the faces, or of all the images of a `.bin`."""
        asked = self.arguments
        halves = asked.halves or None
        if not (isinstance(bench, PairSet) and isinstance(bench.images, EncodedImages)):
            return open_embeddings(path, halves=halves, count=faces.count, missing=faces.missing)
        embeddings, listed = open_embeddings(path, halves=halves), 2 * len(bench)
        if embeddings.count not in (faces.count, listed):
            raise FacekdError(
                f"{path} holds {embeddings.count} embeddings for the {listed} images of "
                f"{bench.name}, {faces.count} of them different; give one each."
            )
        if embeddings.count == faces.count:
            return embeddings
        for _ in embeddings.blocks(not asked.no_flip):
            pass  # an error names the row of the file
        return replace(embeddings, array=embeddings.array[np.asarray(bench.images.numbers)])

    def _embed(self, bench: LoadedBench, faces: Faces, source: Source) -> Embeddings:
        """A network's embeddings of the bench's faces."""
        from facekd.eval.embed import embed_images, embed_to_file
        from facekd.fingerprint import file_fingerprint, fingerprint

        assert faces.images is not None
        files = str(getattr(faces.images, "fingerprint", ""))  # a file that is missing is told now
        model, asked = self.models[source.name], self.arguments
        flip, title = not asked.no_flip, f"{bench.name}, {source.name}"
        found = None if faces.missing is None else ~faces.missing
        folder = asked.save_embeddings
        if folder is None and (faces.count >= KEEP_FROM or self.together.world > 1):
            folder = self.folder / "embeddings"
        if folder is None:
            array = embed_images(
                faces.images,
                model,
                flip=flip,
                halves=True,
                batch_size=asked.batch_size,
                workers=asked.workers,
                precision=asked.precision,
                found=found,
                progress=title,
            )
            return Embeddings(array, flip, title, faces.missing)
        return embed_to_file(
            faces.images,
            model,
            folder,
            name=f"{source.name}-{bench.name.removesuffix(SEARCH)}",
            model_fingerprint=file_fingerprint(source.path),
            images_fingerprint=fingerprint([faces.fingerprint, files]) if faces.fingerprint else "",
            flip=flip,
            batch_size=asked.batch_size,
            workers=asked.workers,
            precision=asked.precision,
            found=found,
            together=self.together,
            progress=title,
        )
