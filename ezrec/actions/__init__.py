"""What a person may do or ask, one transaction each. Nothing is printed here: commands use it, and so will
the web.
"""
