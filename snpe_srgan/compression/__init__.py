"""Smaller networks that draw the same pictures: spatial SVD, channel pruning, whole blocks, and the search among them.

Read in this order: `target` (what is asked for) and `search` (what is done about it, with `strategies` and
`candidates`). What can be made smaller: `units`, `structure`, `folding`. The numbers: `features` (what layers read),
`pruning` and `spatial_svd` (pure numpy), `apply` (a plan carried out), `sensitivity` (what it costs the picture),
`allocate` (the plan of least cost). From file to file: `stage` with `request`, `pictures` and `tuning`; what was
saved: `measure`, `pricing`, `advice`, `tables`.
"""
