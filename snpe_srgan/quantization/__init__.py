"""Float networks to 4-, 8- and 16-bit ones: what is done, what it costs, and where.

Read in this order: `recipe` (what is asked for) and `steps` (what is done, from top to bottom). The numbers:
`calibration` and `gradient` (what flows through the network and how much it matters), `affine`, `ranges`, `weights`
(the arithmetic, pure numpy), `network` and `encodings` (which tensor gets which grid), `plan` (all of them together),
`qdq` (the graph that is written). The improvements: `wires` and `equalization`, `rounding` and `layerwise`,
`mixed`, `finetune` with `tf_network`. Without pictures: `analytic`, `absorption`, `synthetic`. What it cost: `report`,
`analysis` with `layer_losses`, `sensitivity` and `plots`, `judgement` (the emulator). From file to file: `source`,
`stage`, `auto`; `overrides` for the SDK's own converters.
"""
