"""Cameras without hardware: a simulated court, or video files played in real time."""
