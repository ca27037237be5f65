"""The program on its device: how it gets there, is started, upgraded, watched and taken away again.

Limits: everything here runs as root on the system's own Python, before there is an environment with EZREC's
dependencies, so nothing but the standard library may be imported; and straight from a wheel, which Python reads without
unpacking it: `PYTHONPATH=ezrec-….whl python3 -m ezrec.device install`.
"""
