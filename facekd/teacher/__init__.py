"""Teachers: networks in files of other software, their class centres, their cached embeddings."""
