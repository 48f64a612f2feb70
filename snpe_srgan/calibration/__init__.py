"""Calibration pictures: crops of photographs, or pictures drawn from nothing."""
