"""Training: stages, schedules, checkpoints that survive any kill, validation, logs."""
