"""LR pictures as cameras and the web make them: blur, resizes, noise, JPEG, in one or two rounds (recipe.py)."""
