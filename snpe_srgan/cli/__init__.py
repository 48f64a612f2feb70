"""The command line: one file a verb, one way to print, one map from errors to exit codes."""
