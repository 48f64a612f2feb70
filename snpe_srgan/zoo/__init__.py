"""Networks with a name, MODEL as typed on the command line, foreign weights, and what a card says of a network."""
