"""The steps of a recipe, and the order in which they run."""
