"""Making films: what footage there is, what is planned of it, rendered, and joined to a file that grows."""
