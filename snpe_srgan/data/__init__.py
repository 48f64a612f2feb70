"""From photos to training batches: the DIV2K catalogue and download, the sample set, the cache, the batches."""
