"""Other people's libraries on a stranger's file, in a child process: it may crash, hang or fill memory there.

`process.Child` is the parent's side, `worker.py` the child's. What a library does with a hostile file then ends as one
plain error, and Ctrl-C or SIGTERM end it at once, which native code in our own process would not notice.
"""
