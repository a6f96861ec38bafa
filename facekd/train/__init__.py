"""From a recipe to trained networks."""
