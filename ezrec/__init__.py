"""EZREC: records a court's booked hours from two cameras and puts one wide film of each online."""

__version__ = "0.1.0"
