"""Float networks to 8- and 16-bit ones: calibration, ranges, the QDQ graph, and the report of what it cost.

Read in this order: `recipe` (what is asked for), `calibration` (what flows through the network), `affine`, `ranges` and
`weights` (the arithmetic, pure numpy), `network` and `encodings` (which tensor gets which numbers), `qdq` (the graph
that is written), `report` (what was lost), `stage` (all of it, from file to file).
"""
