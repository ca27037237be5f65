"""Two cameras' pictures as one panorama: measured once by `calibrating`, drawn by `layout`."""
