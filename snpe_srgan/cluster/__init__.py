"""Folders of any size on many processes and machines, by Dask: `snpe-srgan run MODEL photos/ -o out --cluster local:8`.

`folder_run.py` tells the way: the work list (`work_list.py`) is dealt to workers (`dispatch.py`, `worker.py`) of a
cluster (`clusters.py`), and what came of each picture goes to a result manifest (`results.py`).
"""
