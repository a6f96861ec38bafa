"""From a recipe's `data:` to batches of uint8 images."""
