"""All stages of a config in a row, each done once: photos -> network -> .dlc -> report."""
