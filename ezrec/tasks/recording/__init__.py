"""Recording: which windows are open, one lane for each camera, and the look at the cameras before a booking."""
