"""Videos: streamed through a network, resumable, with sound and all that goes with it copied; judged like pictures."""
