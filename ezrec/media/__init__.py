"""CPU work on files and frames: composing, rendering, joining. Nothing here knows of bookings or the database."""
