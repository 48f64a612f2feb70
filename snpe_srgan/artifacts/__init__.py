"""Artifacts: the files that stages hand to each other, their cards, and how they are found and written."""
