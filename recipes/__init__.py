"""Shipped recipes: YAML files only."""
