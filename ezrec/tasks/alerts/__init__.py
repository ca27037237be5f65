"""Alerts: what is wrong is looked for (`looks`), remembered and told once (`telling`), and sent (`sending`)."""
