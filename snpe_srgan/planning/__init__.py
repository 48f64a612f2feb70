"""What a chip can afford: estimates calibrated on published device times, and the plan that meets a budget."""
