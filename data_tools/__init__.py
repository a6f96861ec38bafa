"""File formats of the field, in bytes and numpy: no torch, no mxnet."""
